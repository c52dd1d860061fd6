#pragma once
// Options of the commands that use a checkpoint's model: generate and eval.
#include "app/options.hpp"
#include "comm/grid.hpp"
#include "infer/loaded_model.hpp"

namespace hrm::app {

/// Adds --checkpoint, --weights, --precision, --threads, --batch, --max-tokens, --set.
void add_model_options(po::options_description& options);

/// Collective: parallel.* and device.* from environment and --set; `tensor` is the tensor-parallel size where none is
/// given. What the checkpoint says of its run's is not asked.
config::RunConfig given_config(comm::Communicator& world, const po::variables_map& values, std::int64_t tensor);

/// Collective: sets this rank's threads, then reads its slices of the checkpoint.
infer::LoadedModel load_given_model(const comm::Grid& grid, const po::variables_map& values);

/// The value of a whole-number option; InputError(usage) below `least`.
std::int64_t at_least(const po::variables_map& values, const std::string& option, std::int64_t least);

}  // namespace hrm::app
