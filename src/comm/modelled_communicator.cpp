#include "comm/modelled_communicator.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.hpp"

namespace hrm::comm {
namespace {

double message_seconds(const Link& link, std::size_t bytes) {
  return link.latency + static_cast<double>(bytes) / link.bytes_per_second;
}

}  // namespace

ModelledCommunicator::ModelledCommunicator(int rank, int size, const Link& link)
    : rank_(rank), size_(size), link_(link) {
  ensure(link.latency >= 0 && link.bytes_per_second > 0, "a link needs a latency and a bandwidth");
}

std::vector<std::string> ModelledCommunicator::gather(const std::string& mine) {
  return std::vector<std::string>(static_cast<std::size_t>(size_), mine);
}

void ModelledCommunicator::occupy(double seconds) {
  busy_ += seconds;
  done_at_ = clock_.seconds() + seconds;
}

void ModelledCommunicator::start_exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  double out = 0;
  double in = 0;
  for (const Send& send : sends) {
    out += send.to == rank_ ? 0 : message_seconds(link_, send.data.size());
  }
  for (const Receive& receive : receives) {
    in += receive.from == rank_ ? 0 : message_seconds(link_, receive.data.size());
  }
  occupy(std::max(out, in));
}

void ModelledCommunicator::finish_exchange() {
  while (!poll()) {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void ModelledCommunicator::start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t>,
                                                std::span<float> mine) {
  const std::size_t bytes = (data.size() - mine.size()) * sizeof(float);
  occupy((size_ - 1) * link_.latency + static_cast<double>(bytes) / link_.bytes_per_second);
}

std::unique_ptr<Communicator> ModelledCommunicator::split(int) {
  return serial_communicator();
}

}  // namespace hrm::comm
