#pragma once
// A corpus of lengths and strata for tests of planning.
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "data/sample_table.hpp"

namespace hrm::data {

struct SampleColumns {
  std::vector<std::uint32_t> instruction;
  std::vector<std::uint32_t> response;
  std::vector<std::uint16_t> stratum;
  std::vector<std::string> strata;

  void add(std::uint32_t p, std::uint32_t r, std::uint16_t s) {
    instruction.push_back(p);
    response.push_back(r);
    stratum.push_back(s);
  }
  SampleTable table() const { return {instruction, response, stratum, strata}; }
};

/// `count` samples of 1 to 30 + 1 to 30 tokens, spread over the strata.
inline SampleColumns random_columns(std::int64_t count, std::vector<std::string> strata) {
  const RandomStream random(5, RandomPurpose::demo);
  SampleColumns columns;
  columns.strata = std::move(strata);
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
    columns.add(static_cast<std::uint32_t>(1 + random.below(3 * i, 30)),
                static_cast<std::uint32_t>(1 + random.below(3 * i + 1, 30)),
                static_cast<std::uint16_t>(random.below(3 * i + 2, columns.strata.size())));
  }
  return columns;
}

}  // namespace hrm::data
