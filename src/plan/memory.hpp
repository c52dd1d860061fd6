#pragma once
// Bytes that one rank of a run holds, by part, computed from the configuration alone: nothing is allocated or started.
#include <array>
#include <cstdint>
#include <numeric>

#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/tensor_slice.hpp"
#include "config/run_config.hpp"

namespace hrm::plan {

/// A rank's place in a layout of data_ranks x tensor.size ranks, and the threads it uses.
struct RankPlace {
  int data_rank = 0;
  int data_ranks = 1;
  TensorPlace tensor;
  int threads = 1;
  DeviceType device = DeviceType::cpu;
};

struct Memory {
  std::array<std::int64_t, static_cast<std::size_t>(MemoryPart::count)> bytes{};

  std::int64_t& operator[](MemoryPart part) { return bytes[static_cast<std::size_t>(part)]; }
  std::int64_t operator[](MemoryPart part) const { return bytes[static_cast<std::size_t>(part)]; }
  std::int64_t total() const { return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}); }
};

/// What training holds at one rank, within 5 % of what is allocated. weights: own masters, compute copies (on
/// the host in two orientations), buckets on their way. gradients: the current pack's. tree: further partial sums and
/// what is received. optimizer: moments and EMA of the own share. activations: states and records of the deepest
/// horizon. workspace: scratch of layer, attention, head and tensor group. data: packs being read. Left out: saves, the
/// corpus index (once per node), the matrix library's own scratch, evaluation. `config` is complete.
Memory training_memory(const config::RunConfig& config, Precision precision, const RankPlace& place);

/// Host memory that saves hold at one rank of a host's run from the first one on: what a save in the background may
/// copy, at most the own masters and optimizer state, and what data pass through. A device's run holds a copy of the
/// state in place of the former.
std::int64_t saving_memory(const config::RunConfig& config, const RankPlace& place);

}  // namespace hrm::plan
