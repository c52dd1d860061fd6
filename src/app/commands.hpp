#pragma once
// One function per command. Arguments are those after the command's name; the result is the exit code. Errors are
// thrown (base/error.hpp), main alone catches. Only commands that exist stand here and in the table of
// command_table.cpp.
#include <span>
#include <string>

#include "comm/communicator.hpp"

namespace hrm::app {

using Arguments = std::span<const std::string>;

// One process; no MPI is started.
int run_tokenizer(Arguments args);
int run_inspect(Arguments args);

// Alone or under mpirun/srun: every rank calls it with the same arguments.
int run_prepare(Arguments args, comm::Communicator& world);
int run_train(Arguments args, comm::Communicator& world);
int run_eval(Arguments args, comm::Communicator& world);
int run_generate(Arguments args, comm::Communicator& world);
int run_validate(Arguments args, comm::Communicator& world);
int run_bench(Arguments args, comm::Communicator& world);

}  // namespace hrm::app
