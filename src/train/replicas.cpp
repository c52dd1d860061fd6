#include "train/replicas.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "io/disk.hpp"

namespace hrm::train {
namespace {

std::string tensors_of(const ParameterTable& table, std::size_t bucket) {
  if (bucket == table.buckets.size()) {
    return "zL_init";
  }
  const auto name = [&](int row) { return table.rows[static_cast<std::size_t>(row)].name; };
  const Bucket& rows = table.buckets[bucket];
  return rows.last_row - rows.first_row == 1 ? name(rows.first_row)
                                             : fmt::format("{} to {}", name(rows.first_row), name(rows.last_row - 1));
}

std::string who(const comm::Grid& grid, const ParameterTable& table, std::size_t bucket) {
  return fmt::format("rank {} on {} ({})", grid.world->rank(), io::host_name(), tensors_of(table, bucket));
}

/// The complaints of all ranks that have one.
std::string joined(comm::Communicator& world, const std::string& complaint) {
  std::string all;
  for (const std::string& one : world.gather(complaint)) {
    all += (all.empty() || one.empty() ? "" : ", ") + one;
  }
  return all;
}

}  // namespace

std::string differing_replicas(comm::Grid& grid, const ParameterTable& table, std::span<const std::uint64_t> digests) {
  const std::string mine(reinterpret_cast<const char*>(digests.data()), digests.size_bytes());
  const std::vector<std::string> replicas = grid.data->gather(mine);
  std::string complaint;
  for (std::size_t bucket = 0; bucket < digests.size() && complaint.empty(); ++bucket) {
    const std::size_t at = bucket * sizeof(std::uint64_t);
    const auto same = std::count_if(replicas.begin(), replicas.end(), [&](const std::string& other) {
      return other.compare(at, sizeof(std::uint64_t), mine, at, sizeof(std::uint64_t)) == 0;
    });
    if (2 * same <= std::ssize(replicas)) {
      complaint = who(grid, table, bucket);
    }
  }
  return joined(*grid.world, complaint);
}

std::string changed_networks(comm::Grid& grid, const ParameterTable& table, std::span<const std::uint64_t> before,
                             std::span<const std::uint64_t> after) {
  const auto changed = std::mismatch(before.begin(), before.end(), after.begin()).first;
  return joined(*grid.world,
                changed == before.end() ? "" : who(grid, table, static_cast<std::size_t>(changed - before.begin())));
}

void require_equal_replicas(comm::Grid& grid, Learner& learner, std::int64_t step) {
  const std::vector<std::uint64_t> before = learner.memory_digests();
  const std::vector<std::uint64_t> loaded = learner.reload();
  const std::string changed = changed_networks(grid, learner.table(), before, learner.memory_digests());
  if (!changed.empty()) {
    fail(
        ExitCode::numerics,
        "step {}: weights in memory are not those of the masters: {}. Memory of that node is at fault (where all ranks "
        "of a data-parallel group are named, their masters'); leave it out and go on from a checkpoint with --resume "
        "auto",
        step, changed);
  }
  const std::string differing = differing_replicas(grid, learner.table(), loaded);
  if (!differing.empty()) {
    fail(ExitCode::numerics,
         "step {}: weights differ between data-parallel ranks: {}. Memory or the network of a node is at fault; leave "
         "it out and go on from a checkpoint with --resume auto",
         step, differing);
  }
}

}  // namespace hrm::train
