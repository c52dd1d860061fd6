#include <algorithm>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {
namespace {

class SerialCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void barrier() override {}
  void sum(std::span<double>) override {}
  void sum(std::span<std::uint64_t>) override {}
  void max(std::span<std::int64_t>) override {}
  void broadcast(std::span<std::byte>, int root) override { ensure(root == 0, "root outside a group of one"); }
  std::vector<std::string> gather(const std::string& mine) override { return {mine}; }

  void start_exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    ensure(sends.size() == receives.size(), "a group of one exchanges with itself: as many sends as receives");
    for (std::size_t i = 0; i < sends.size(); ++i) {
      ensure(sends[i].to == 0 && receives[i].from == 0, "rank outside a group of one");
      ensure(sends[i].data.size() == receives[i].data.size(), "lengths of a transfer differ");
      std::copy(sends[i].data.begin(), sends[i].data.end(), receives[i].data.begin());
    }
  }
  bool poll() override { return true; }
  void finish_exchange() override {}
  void start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                            std::span<float> mine) override {
    ensure(first.size() == 2 && data.size() == mine.size(), "a sum needs size() + 1 borders");
    std::copy(data.begin(), data.end(), mine.begin());
  }

  std::unique_ptr<Communicator> split(int) override { return std::make_unique<SerialCommunicator>(); }
  std::unique_ptr<Communicator> node_group() override { return nullptr; }
  void* native() override { return nullptr; }
};

}  // namespace

std::unique_ptr<Communicator> serial_communicator() {
  return std::make_unique<SerialCommunicator>();
}

}  // namespace hrm::comm
