#include "data/sample_table.hpp"

namespace hrm::data {

std::vector<std::int64_t> rows_by_stratum(const SampleTable& table) {
  std::vector<std::int64_t> rows(table.strata.size());
  for (const std::uint16_t stratum : table.stratum) {
    ++rows[stratum];
  }
  return rows;
}

}  // namespace hrm::data
