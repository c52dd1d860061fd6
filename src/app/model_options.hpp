#pragma once
// Options of the commands that use a checkpoint's model: generate and eval.
#include "app/options.hpp"
#include "comm/grid.hpp"
#include "infer/loaded_model.hpp"

namespace hrm::app {

/// Adds --checkpoint, --weights, --precision, --threads, --batch, --max-tokens, --condition, --set.
void add_model_options(po::options_description& options);

/// --condition, for prompts that have none of their own; empty: no tag. InputError(usage) for an unknown one.
std::string given_condition(const po::variables_map& values);

/// Collective: parallel.* and device.* from environment and --set; sets this rank's threads, as --threads or they say.
/// `tensor` is the tensor-parallel size where none is given. What the checkpoint says of its run's is not asked.
/// InputError(bad_config) for a --set of another key.
config::RunConfig given_config(comm::Communicator& world, const po::variables_map& values, std::int64_t tensor);

/// Collective: reads this rank's slices of the checkpoint.
infer::LoadedModel load_given_model(const comm::Grid& grid, const po::variables_map& values);

}  // namespace hrm::app
