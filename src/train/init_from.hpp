#pragma once
// `hrm train --init-from`: a new run that starts from a checkpoint's weights.
#include <optional>

#include "comm/grid.hpp"
#include "infer/loaded_model.hpp"
#include "train/run_options.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

/// The checkpoint that options.init_from names, nothing without one. Its constant of the embedding is taken into
/// `config` where none is given there, for a change of initialiser must not change the function of loaded weights.
/// Collective.
std::optional<infer::LoadedModel> load_source(const comm::Grid& grid, const RunOptions& options,
                                              config::RunConfig& config);

/// InputError(bad_config) unless the weights of `source` are those of the configured network and its tokens mean the
/// same.
void check_source(const infer::LoadedModel& source, const RunFacts& facts);

/// File, step and kind of the weights, and what the configured network computes in another way than theirs did, for the
/// log (a warning then) and the run's events.
std::string describe_source(const infer::LoadedModel& source, const RunFacts& facts);

}  // namespace hrm::train
