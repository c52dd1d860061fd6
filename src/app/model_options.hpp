#pragma once
// Options of the commands that use a checkpoint's model: generate and eval.
#include "app/options.hpp"
#include "infer/loaded_model.hpp"

namespace hrm::app {

/// Adds --checkpoint, --weights, --precision, --threads, --batch, --max-tokens.
void add_model_options(po::options_description& options);

/// Collective: sets this rank's threads, then reads the checkpoint.
infer::LoadedModel load_given_model(comm::Communicator& world, const po::variables_map& values);

/// The value of a whole-number option; InputError(usage) below `least`.
std::int64_t at_least(const po::variables_map& values, const std::string& option, std::int64_t least);

}  // namespace hrm::app
