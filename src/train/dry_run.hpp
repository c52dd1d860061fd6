#pragma once
// `hrm train --dry-run`: what a run would do and hold on every rank, without starting it.
#include <string>

#include "comm/communicator.hpp"
#include "config/run_config.hpp"

namespace hrm::train {

/// The plan as text: steps and batches by epoch, then for every one of `ranks` ranks its packs, its share of the flat
/// parameters, and its bytes by part. The buffers are laid out exactly as in a run and never touched. Nothing is
/// written.
std::string dry_run(comm::Communicator& world, const config::RunConfig& config, int ranks);

}  // namespace hrm::train
