#pragma once
// One training run from start or restart to its end.
#include "base/error.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "train/run_options.hpp"

namespace hrm::train {

/// Trains as `config` says (not yet complete: the corpus gives the vocabulary). Collective. Returns `ok` when the
/// planned run is finished, `stopped` when a checkpoint was written on request; everything else is thrown.
ExitCode train(comm::Communicator& world, const config::RunConfig& config, const RunOptions& options);

}  // namespace hrm::train
