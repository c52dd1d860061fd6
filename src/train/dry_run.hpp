#pragma once
// `hrm train --dry-run`: what a run would do and hold on every rank, without starting it.
#include <string>

#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "train/run_options.hpp"

namespace hrm::train {

/// The plan as text: steps and batches by epoch, then for every one of `ranks` ranks its packs, its share of the flat
/// parameters, and its bytes by part. The buffers are laid out exactly as in a run and never touched. Nothing is
/// written. Refuses what the run would (find_start, load_source, RunPlan), but for the state of the machine: the run
/// folder's lock and room, memory, devices. A folder in use by another run and a warm-up longer than the run are
/// warnings. Collective.
std::string dry_run(comm::Communicator& world, config::RunConfig config, const RunOptions& options, int ranks);

}  // namespace hrm::train
