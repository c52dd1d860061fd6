#include "app/command_table.hpp"

#include <vector>

#include "base/error.hpp"
#include "config/nearest.hpp"

namespace hrm::app {
namespace {

constexpr Command table[] = {
    {"tokenizer", Start::one_process, "train a byte-level BPE tokenizer, encode and decode with it",
     [](Arguments args, comm::Communicator&) { return run_tokenizer(args); }},
    {"prepare", Start::mpi, "turn instruction-response lines into HDF5 shards", run_prepare},
    {"train", Start::mpi, "pre-train, fine-tune or continue a run", run_train},
    {"eval", Start::mpi, "score benchmarks and held-out loss of a checkpoint", run_eval},
    {"generate", Start::mpi, "answer prompts with a checkpoint", run_generate},
    {"inspect", Start::one_process, "what is in a shard, checkpoint or metrics file; verify and compare",
     [](Arguments args, comm::Communicator&) { return run_inspect(args); }},
    {"bench", Start::mpi, "measure this machine: matrix products, a training step", run_bench},
    {"validate", Start::mpi_if_launched, "replay golden files and print the largest error of each quantity",
     run_validate},
};

}  // namespace

std::span<const Command> commands() {
  return table;
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : table) {
    if (command.name == name) {
      return command;
    }
    names.emplace_back(command.name);
  }
  fail(ExitCode::usage, "unknown command '{}'; the nearest is '{}', and hrm --help lists all", name,
       config::nearest(name, names));
}

std::string help_text() {
  std::string text =
      "hrm: pre-training of hierarchical recurrent language models\n\n"
      "usage: hrm COMMAND [options]\n\ncommands:\n";
  for (const Command& command : table) {
    text += fmt::format("  {:<10} {}\n", command.name, command.help);
  }
  return text +
         "\nhrm COMMAND --help lists a command's options, hrm --version the program's parts.\n"
         "Under SLURM start with srun --mpi=pmix, elsewhere with mpirun; --allow-single permits one rank in a step of "
         "several tasks.\n";
}

}  // namespace hrm::app
