#pragma once
// Ranks and options that cases of models run with.
#include "comm/grid.hpp"
#include "config/run_config.hpp"
#include "validate/golden_file.hpp"

namespace hrm::validate {

/// Refers to what its maker holds.
struct Layout {
  comm::Grid& grid;
  const config::RunConfig&
      config;  ///< parallel.*, train.deterministic and train.recompute count; a file gives the rest
};

/// InputError(bad_config) naming the file and what it can run on, where the ranks of a tensor group cannot share its
/// model or there are more groups than packs.
void check_layout(const GoldenFile& file, const config::ModelConfig& model, std::int64_t packs, const Layout& layout);

}  // namespace hrm::validate
