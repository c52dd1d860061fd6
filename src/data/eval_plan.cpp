#include "data/eval_plan.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"

namespace hrm::data {

EvalPlan::EvalPlan(const SampleTable& table, std::int64_t slots) : samples_(static_cast<std::size_t>(table.count())) {
  std::iota(samples_.begin(), samples_.end(), 0U);
  std::ranges::stable_sort(samples_, {}, [&](std::uint32_t sample) { return table.stratum[sample]; });
  first_.push_back(0);
  std::int64_t used = 0;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    const std::int64_t length = table.length(samples_[i]);
    if (length > slots) {
      fail(
          ExitCode::bad_config,
          "sample {} of the held-out corpus takes {} tokens, more than a pack's {} slots; prepare it with --context {} "
          "or use more slots",
          samples_[i], length, slots, slots);
    }
    if (used + length > slots) {
      first_.push_back(static_cast<std::int64_t>(i));
      used = 0;
    }
    used += length;
  }
  first_.push_back(std::ssize(samples_));
}

std::span<const std::uint32_t> EvalPlan::pack(std::int64_t p) const {
  const auto begin = static_cast<std::size_t>(first_[static_cast<std::size_t>(p)]);
  const auto end = static_cast<std::size_t>(first_[static_cast<std::size_t>(p) + 1]);
  return std::span(samples_).subspan(begin, end - begin);
}

}  // namespace hrm::data
