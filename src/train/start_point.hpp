#pragma once
#include <filesystem>
#include <optional>

#include "comm/communicator.hpp"
#include "io/checkpoint_reader.hpp"
#include "train/run_options.hpp"

namespace hrm::train {

/// The checkpoint to go on from by the rules of --resume; nothing for a new run. Verifies it, writes nothing.
/// Collective. InputError: no_input where --resume finds none or none that is good, cannot_create where a new run would
/// start in a folder that holds one, those of CheckpointReader for --resume FILE.
std::optional<io::CheckpointReader> find_start(comm::Communicator& world, const std::filesystem::path& folder,
                                               const RunOptions& options);

}  // namespace hrm::train
