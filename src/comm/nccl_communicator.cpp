#include "comm/nccl_communicator.hpp"

#include <nccl.h>

#include <algorithm>
#include <thread>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/nccl_check.hpp"
#include "comm/nccl_handles.hpp"
#include "comm/own_transfers.hpp"

namespace hrm::comm {
namespace {

/// ncclGroupStart … ncclGroupEnd, which belongs to the thread and must come even if a call in between throws.
class GroupCall {
 public:
  GroupCall() { nccl_check(ncclGroupStart(), "ncclGroupStart"); }
  ~GroupCall() {
    if (open_) {
      ncclGroupEnd();
    }
  }
  GroupCall(const GroupCall&) = delete;
  GroupCall& operator=(const GroupCall&) = delete;
  void end(const std::string& tried) {
    open_ = false;
    nccl_check(ncclGroupEnd(), tried);
  }

 private:
  bool open_ = true;
};

std::int64_t largest_part(std::span<const std::int64_t> first) {
  std::int64_t most = 0;
  for (std::size_t r = 0; r + 1 < first.size(); ++r) {
    most = std::max(most, first[r + 1] - first[r]);
  }
  return most;
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, double deadline, Stream compute);

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  void barrier() override { host_->barrier(); }
  void sum(std::span<double> values) override { host_->sum(values); }
  void sum(std::span<std::uint64_t> values) override { host_->sum(values); }
  void max(std::span<std::int64_t> values) override { host_->max(values); }
  void broadcast(std::span<std::byte> data, int root) override { host_->broadcast(data, root); }
  std::vector<std::string> gather(const std::string& mine) override { return host_->gather(mine); }
  void start_exchange(std::span<const Send> sends, std::span<const Receive> receives) override;
  bool poll() override;
  void finish_exchange() override;
  void finish_exchange_before(Stream stream) override;
  void start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                            std::span<float> mine) override;
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<NcclCommunicator>(host_->split(color), deadline_, compute_);
  }
  std::unique_ptr<Communicator> node_group() override { return host_->node_group(); }
  void* native() override { return host_->native(); }

 private:
  /// issuing: NCCL puts it on the stream in the background; followed: the stream that needs it waits for it, the host
  /// may start the next one.
  enum class Stage { idle, issuing, running, followed };

  bool poll_issue();
  void begin(const char* what, std::size_t bytes);
  void issued(GroupCall& calls);
  void watch_deadline() const;
  std::string tried() const {
    return fmt::format("NCCL {} of {} bytes on rank {} of {}", what_, bytes_, rank(), size());
  }

  std::unique_ptr<Communicator> host_;
  double deadline_;
  Stream compute_;
  CudaStream stream_;
  CudaEvent ready_;  ///< compute_ is done with the data
  CudaEvent done_;
  std::unique_ptr<NcclGroup> group_;  ///< goes before the stream that its kernels run on

  Stage stage_ = Stage::idle;
  Timer stage_time_;
  const char* what_ = "";
  std::size_t bytes_ = 0;  ///< of this rank, for messages
};

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host, double deadline, Stream compute)
    : host_(std::move(host)), deadline_(deadline), compute_(compute) {
  ensure(deadline > 0, "a deadline lies in the future");
  std::string id;
  together(*host_, [&] {
    stream_ = make_stream();
    ready_ = make_event();
    done_ = make_event();
    if (rank() == 0) {
      id = NcclGroup::unique_id();
    }
  });
  group_ = std::make_unique<NcclGroup>(rank(), size(), broadcast_text(*host_, std::move(id)), deadline_);
}

/// Orders what follows on the stream behind the work that compute_ holds now.
void NcclCommunicator::begin(const char* what, std::size_t bytes) {
  ensure(stage_ == Stage::idle || stage_ == Stage::followed, "an exchange is still under way");
  what_ = what;
  bytes_ = bytes;
  cuda_check(cudaEventRecord(ready_.get(), static_cast<cudaStream_t>(compute_.native)), "cudaEventRecord");
  cuda_check(cudaStreamWaitEvent(stream_.get(), ready_.get(), 0), "cudaStreamWaitEvent");
}

void NcclCommunicator::issued(GroupCall& calls) {
  calls.end(tried());
  stage_ = Stage::issuing;
  stage_time_.restart();
  poll();
}

void NcclCommunicator::watch_deadline() const {
  if (stage_time_.seconds() > deadline_) {
    nccl_expired(tried(), deadline_);
  }
}

/// Whether the operation is on the stream, with done_ behind it.
bool NcclCommunicator::poll_issue() {
  const int state = group_->state();
  if (state == ncclInProgress) {
    watch_deadline();
    return false;
  }
  if (state != ncclSuccess) {
    nccl_check(state, tried());
  }
  if (stage_ == Stage::issuing) {
    // Not before: an event recorded while NCCL still issues would stand in front of its kernels.
    cuda_check(cudaEventRecord(done_.get(), stream_.get()), "cudaEventRecord");
    stage_ = Stage::running;
    stage_time_.restart();
  }
  return true;
}

bool NcclCommunicator::poll() {
  if (stage_ == Stage::idle) {
    return true;
  }
  if (!poll_issue()) {
    return false;
  }
  const cudaError_t code = cudaEventQuery(done_.get());
  if (code == cudaErrorNotReady) {
    watch_deadline();
    return false;
  }
  cuda_check(code, "cudaEventQuery");
  stage_ = Stage::idle;
  return true;
}

void NcclCommunicator::finish_exchange() {
  while (!poll()) {
    std::this_thread::yield();
  }
}

void NcclCommunicator::finish_exchange_before(Stream stream) {
  if (stage_ == Stage::idle || stage_ == Stage::followed) {
    return;
  }
  while (!poll_issue()) {
    std::this_thread::yield();
  }
  cuda_check(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream.native), done_.get(), 0), "cudaStreamWaitEvent");
  stage_ = Stage::followed;
}

void NcclCommunicator::start_exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  std::size_t bytes = 0;
  for (const Send& send : sends) {
    bytes += send.data.size();
  }
  begin("exchange", bytes);
  for_each_own(sends, receives, rank(), [&](std::span<const std::byte> from, std::span<std::byte> to) {
    if (!from.empty()) {
      cuda_check(cudaMemcpyAsync(to.data(), from.data(), from.size(), cudaMemcpyDeviceToDevice, stream_.get()),
                 "cudaMemcpyAsync");
    }
  });
  GroupCall calls;
  for (const Receive& receive : receives) {
    if (receive.from != rank() && !receive.data.empty()) {
      nccl_check(
          ncclRecv(receive.data.data(), receive.data.size(), ncclInt8, receive.from, group_->get(), stream_.get()),
          "ncclRecv");
    }
  }
  for (const Send& send : sends) {
    if (send.to != rank() && !send.data.empty()) {
      nccl_check(ncclSend(send.data.data(), send.data.size(), ncclInt8, send.to, group_->get(), stream_.get()),
                 "ncclSend");
    }
  }
  issued(calls);
}

void NcclCommunicator::start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                                            std::span<float> mine) {
  ensure(std::ssize(first) == size() + 1, "a sum needs size() + 1 borders");
  begin("reduce-scatter", data.size_bytes());
  GroupCall calls;
  const std::int64_t part = largest_part(first);
  if (first.back() - first.front() == part * size()) {
    nccl_check(ncclReduceScatter(data.data() + first.front(), mine.data(), static_cast<std::size_t>(part), ncclFloat,
                                 ncclSum, group_->get(), stream_.get()),
               "ncclReduceScatter");
  } else {
    for (int r = 0; r < size(); ++r) {
      const std::int64_t begins = first[static_cast<std::size_t>(r)];
      const auto count = static_cast<std::size_t>(first[static_cast<std::size_t>(r) + 1] - begins);
      if (count > 0) {
        nccl_check(ncclReduce(data.data() + begins, r == rank() ? mine.data() : nullptr, count, ncclFloat, ncclSum, r,
                              group_->get(), stream_.get()),
                   "ncclReduce");
      }
    }
  }
  issued(calls);
}

}  // namespace

std::unique_ptr<Communicator> nccl_communicator(std::unique_ptr<Communicator> host, double deadline, Stream compute) {
  return std::make_unique<NcclCommunicator>(std::move(host), deadline, compute);
}

}  // namespace hrm::comm
