#pragma once
// A clock in place of a network: how much of the communication hides behind real computation, measured on one rank.
#include <memory>

#include "base/timer.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

/// A rank's link: a message takes `latency` seconds and its bytes over `bytes_per_second`.
struct Link {
  double latency = 0;
  double bytes_per_second = 0;
};

/// Rank `rank` of `size` without the others. The messages of an exchange follow one another on the rank's own link,
/// sends and receives at the same time; what arrives is left as it was. Sums and gathers of scalars return at once.
class ModelledCommunicator final : public Communicator {
 public:
  ModelledCommunicator(int rank, int size, const Link& link);

  /// Seconds that the link was busy so far.
  double busy_seconds() const { return busy_; }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void barrier() override {}
  void sum(std::span<double>) override {}
  void sum(std::span<std::uint64_t>) override {}
  void max(std::span<std::int64_t>) override {}
  void broadcast(std::span<std::byte>, int) override {}
  std::vector<std::string> gather(const std::string& mine) override;
  void start_exchange(std::span<const Send> sends, std::span<const Receive> receives) override;
  bool poll() override { return clock_.seconds() >= done_at_; }
  void finish_exchange() override;
  /// The messages of a ring.
  void start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                            std::span<float> mine) override;
  std::unique_ptr<Communicator> split(int color) override;
  std::unique_ptr<Communicator> node_group() override { return nullptr; }
  void* native() override { return nullptr; }

 private:
  void occupy(double seconds);

  int rank_;
  int size_;
  Link link_;
  Timer clock_;
  double done_at_ = 0;
  double busy_ = 0;
};

}  // namespace hrm::comm
