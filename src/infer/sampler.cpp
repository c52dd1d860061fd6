#include "infer/sampler.hpp"

#include "base/random.hpp"

namespace hrm::infer {

double Sampler::number(std::int64_t prompt, std::int64_t position) const {
  const RandomStream random(options_.seed, RandomPurpose::sampling, static_cast<std::uint32_t>(prompt));
  return random.uniform(static_cast<std::uint64_t>(position));
}

}  // namespace hrm::infer
