#include "comm/mpi_communicator.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <numeric>

#include "base/error.hpp"
#include "comm/activity.hpp"
#include "comm/mpi_check.hpp"
#include "comm/own_transfers.hpp"

namespace hrm::comm {
namespace {

constexpr int exchange_tag = 1;
constexpr int ring_tag = 2;

/// Calls part(first, count) for consecutive parts of at most `limit` elements.
template <class Part>
void in_parts(std::int64_t size, std::int64_t limit, Part&& part) {
  for (std::int64_t first = 0; first < size; first += limit) {
    part(first, static_cast<int>(std::min(limit, size - first)));
  }
}

class MpiCommunicator final : public Communicator {
 public:
  /// Takes ownership of `handle`.
  MpiCommunicator(MPI_Comm handle, std::int64_t limit)
      : handle_(handle), limit_(limit), exceptions_at_start_(std::uncaught_exceptions()) {
    mpi_check(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    mpi_check(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
    mpi_check(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
  }
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void barrier() override {
    note_operation("MPI_Barrier");
    mpi_check(MPI_Barrier(handle_), "MPI_Barrier");
  }
  void sum(std::span<double> values) override { all_reduce(values, MPI_DOUBLE, MPI_SUM); }
  void sum(std::span<std::uint64_t> values) override { all_reduce(values, MPI_UINT64_T, MPI_SUM); }
  void max(std::span<std::int64_t> values) override { all_reduce(values, MPI_INT64_T, MPI_MAX); }
  void broadcast(std::span<std::byte> data, int root) override;
  std::vector<std::string> gather(const std::string& mine) override;
  void start_exchange(std::span<const Send> sends, std::span<const Receive> receives) override;
  void finish_exchange() override { wait_all(); }
  bool poll() override;
  void start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                            std::span<float> mine) override;
  std::unique_ptr<Communicator> split(int color) override;
  std::unique_ptr<Communicator> node_group() override;
  void* native() override { return &handle_; }

 private:
  template <class T>
  void all_reduce(std::span<T> values, MPI_Datatype type, MPI_Op operation);
  void ring(std::byte* data, std::span<const std::int64_t> first);
  void post_send(std::span<const std::byte> data, int to, int tag);
  void post_receive(std::span<std::byte> data, int from, int tag);
  void wait_all();

  MPI_Comm handle_;
  std::int64_t limit_;
  int exceptions_at_start_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<MPI_Request> requests_;
  std::vector<int> counts_;  ///< of a sum under way: MPI reads them until it ends
};

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  // MPI_Comm_free is collective: the other ranks may never come while this one unwinds.
  if (finalized == 0 && std::uncaught_exceptions() <= exceptions_at_start_) {
    MPI_Comm_free(&handle_);
  }
}

template <class T>
void MpiCommunicator::all_reduce(std::span<T> values, MPI_Datatype type, MPI_Op operation) {
  note_operation("MPI_Allreduce");
  in_parts(std::ssize(values), limit_, [&](std::int64_t first, int count) {
    mpi_check(MPI_Allreduce(MPI_IN_PLACE, values.data() + first, count, type, operation, handle_), "MPI_Allreduce");
  });
}

void MpiCommunicator::broadcast(std::span<std::byte> data, int root) {
  note_operation("MPI_Bcast");
  in_parts(std::ssize(data), limit_, [&](std::int64_t first, int count) {
    mpi_check(MPI_Bcast(data.data() + first, count, MPI_BYTE, root, handle_), "MPI_Bcast");
  });
}

void MpiCommunicator::post_send(std::span<const std::byte> data, int to, int tag) {
  in_parts(std::ssize(data), limit_, [&](std::int64_t first, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(MPI_Isend(data.data() + first, count, MPI_BYTE, to, tag, handle_, &request), "MPI_Isend");
    requests_.push_back(request);
  });
}

void MpiCommunicator::post_receive(std::span<std::byte> data, int from, int tag) {
  in_parts(std::ssize(data), limit_, [&](std::int64_t first, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(MPI_Irecv(data.data() + first, count, MPI_BYTE, from, tag, handle_, &request), "MPI_Irecv");
    requests_.push_back(request);
  });
}

void MpiCommunicator::wait_all() {
  note_operation("MPI_Waitall");
  const int code = MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  requests_.clear();
  mpi_check(code, "MPI_Waitall");
}

bool MpiCommunicator::poll() {
  int done = 0;
  mpi_check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE),
            "MPI_Testall");
  if (done != 0) {
    requests_.clear();
  }
  return done != 0;
}

void MpiCommunicator::start_exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  ensure(requests_.empty(), "an exchange is still under way");
  for (const Receive& receive : receives) {
    if (receive.from != rank_) {
      post_receive(receive.data, receive.from, exchange_tag);
    }
  }
  for (const Send& send : sends) {
    if (send.to != rank_) {
      post_send(send.data, send.to, exchange_tag);
    }
  }
  for_each_own(sends, receives, rank_, [](std::span<const std::byte> from, std::span<std::byte> to) {
    std::copy(from.begin(), from.end(), to.begin());
  });
}

/// Each part travels once around the ring of ranks: every link carries each byte once, and offsets are 64-bit, which
/// MPI_Allgatherv's are not.
void MpiCommunicator::ring(std::byte* data, std::span<const std::int64_t> first) {
  ensure(requests_.empty(), "an exchange is still under way");
  ensure(std::ssize(first) == size_ + 1, "a gather needs size() + 1 borders");
  const int right = (rank_ + 1) % size_;
  const int left = (rank_ + size_ - 1) % size_;
  const auto part = [&](std::size_t rank) {
    return std::span(data + first[rank], static_cast<std::size_t>(first[rank + 1] - first[rank]));
  };
  for (int step = 0; step + 1 < size_; ++step) {
    const auto outgoing = static_cast<std::size_t>((rank_ - step + size_) % size_);
    const auto incoming = static_cast<std::size_t>((rank_ - step - 1 + size_) % size_);
    post_receive(part(incoming), left, ring_tag);
    post_send(part(outgoing), right, ring_tag);
    wait_all();
  }
}

void MpiCommunicator::start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                                           std::span<float> mine) {
  ensure(requests_.empty(), "an exchange is still under way");
  ensure(std::ssize(first) == size_ + 1, "a sum needs size() + 1 borders");
  ensure(first.back() <= std::numeric_limits<int>::max(), "MPI counts the elements of a sum with int");
  counts_.clear();
  for (std::size_t r = 0; r + 1 < first.size(); ++r) {
    counts_.push_back(static_cast<int>(first[r + 1] - first[r]));
  }
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Ireduce_scatter(data.data(), mine.data(), counts_.data(), MPI_FLOAT, MPI_SUM, handle_, &request),
            "MPI_Ireduce_scatter");
  requests_.push_back(request);
}

std::vector<std::string> MpiCommunicator::gather(const std::string& mine) {
  std::vector<std::int64_t> first(static_cast<std::size_t>(size_) + 1);
  const auto own = static_cast<std::int64_t>(mine.size());
  note_operation("MPI_Allgather");
  mpi_check(MPI_Allgather(&own, 1, MPI_INT64_T, first.data() + 1, 1, MPI_INT64_T, handle_), "MPI_Allgather");
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::string all(static_cast<std::size_t>(first.back()), '\0');
  std::copy(mine.begin(), mine.end(), all.begin() + first[static_cast<std::size_t>(rank_)]);
  ring(std::as_writable_bytes(std::span(all)).data(), first);
  std::vector<std::string> parts;
  for (std::size_t r = 0; r + 1 < first.size(); ++r) {
    parts.push_back(all.substr(static_cast<std::size_t>(first[r]), static_cast<std::size_t>(first[r + 1] - first[r])));
  }
  return parts;
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color) {
  MPI_Comm part = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split(handle_, color, rank_, &part), "MPI_Comm_split");
  return std::make_unique<MpiCommunicator>(part, limit_);
}

std::unique_ptr<Communicator> MpiCommunicator::node_group() {
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  return std::make_unique<MpiCommunicator>(node, limit_);
}

}  // namespace

std::unique_ptr<Communicator> mpi_communicator(void* native, std::int64_t message_limit) {
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(*static_cast<MPI_Comm*>(native), &copy), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(copy, message_limit);
}

}  // namespace hrm::comm
