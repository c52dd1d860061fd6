#pragma once
// Counter-based random numbers: element i of stream (seed, purpose) is a pure function, so any rank can make any part.
// Philox4x32-10 (Salmon et al., SC'11).
#include <array>
#include <cstdint>

namespace hrm {

/// What a stream of numbers is for; values are part of a run's identity and are never reused.
enum class RandomPurpose : std::uint32_t {
  initial_weights = 1,
  epoch_order = 2,
  stratum_order = 3,
  sampling = 4,
  demo = 5
};

/// Philox4x32-10 of a 128-bit counter and a 64-bit key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Numbers of one stream: (seed, purpose, substream), addressed by index.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint32_t substream = 0)
      : seed_(seed), purpose_(static_cast<std::uint32_t>(purpose)), substream_(substream) {}

  /// 64 uniform bits.
  std::uint64_t bits(std::uint64_t index) const;
  /// Uniform integer in [0, bound), bound >= 1, by multiply-high (bias below bound / 2^64).
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;
  /// Uniform real in [0, 1) with 53 bits.
  double uniform(std::uint64_t index) const;
  /// Standard normal (Box-Muller on two uniforms of the same counter).
  double normal(std::uint64_t index) const;

 private:
  std::array<std::uint32_t, 4> block(std::uint64_t index) const;
  std::uint64_t seed_;
  std::uint32_t purpose_;
  std::uint32_t substream_;
};

}  // namespace hrm
