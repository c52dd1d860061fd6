// Run under mpirun with 2 to 4 ranks: replicas whose weights differ are found and named on every rank, and only those.
// Exit 0 if all holds; each failing promise is one line on standard error.
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "base/error.hpp"
#include "comm/mpi_session.hpp"
#include "config/resolve.hpp"
#include "model/parameters.hpp"
#include "train/learner.hpp"
#include "train/replicas.hpp"

namespace {

using namespace hrm;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

config::RunConfig run_of(std::int64_t zero) {
  config::RunConfig run;
  run.model.layers = 2;
  run.model.num_heads = 4;
  run.model.hidden_size = 48;
  run.model.intermediate_size = 44;
  run.model.vocab_size = 268;
  run.model.vocab_multiple = 4;
  run.model.max_seq_len = 40;
  run.model = config::complete_model(run.model, 0);
  run.train.packs = 4;
  run.train.pack_tokens = 40;
  run.parallel.zero = zero;
  return run;
}

/// Initial weights; on `bad` the last bit of one element of `tensor` is another one.
train::ValueSource with_flip(bool bad, const std::string& tensor) {
  return [=](const Parameter& row, std::int64_t first, std::span<float> values) {
    model::initial_values(row, 0, first, values);
    if (bad && row.name == tensor && !values.empty()) {
      values[0] = std::nextafter(values[0], HUGE_VALF);
    }
  };
}

/// What differing_replicas says of learners that start from these values.
std::string complaint(comm::Communicator& world, std::int64_t zero, const train::ValueSource& values) {
  comm::Grid grid = comm::make_grid(world, 1);
  train::Learner learner(grid, run_of(zero), Precision::fp32);
  learner.initialise(values);
  return train::differing_replicas(grid, learner.table(), learner.reload());
}

bool names(const std::string& text, int rank) {
  return text.find(fmt::format("rank {} on ", rank)) != std::string::npos;
}

/// Every rank holds all masters (zero = 0): one flipped bit is found, and its holder named where it is outvoted.
void check_flip(comm::Communicator& world, int bad, const std::string& tensor, const std::string& shown) {
  const std::string text = complaint(world, 0, with_flip(world.rank() == bad, tensor));
  for (int rank = 0; rank < world.size(); ++rank) {
    const bool expected = rank == bad || world.size() == 2;
    expect(names(text, rank) == expected,
           fmt::format("{} flipped on rank {}: rank {} in '{}'", tensor, bad, rank, text));
  }
  expect(text.find(shown) != std::string::npos, fmt::format("{} is named in '{}'", shown, text));
}

void check_refusal(comm::Communicator& world) {
  comm::Grid grid = comm::make_grid(world, 1);
  train::Learner learner(grid, run_of(0), Precision::fp32);
  learner.initialise(with_flip(world.rank() == 1, "lm_head"));
  try {
    train::require_equal_replicas(grid, learner, 7);
    expect(false, "replicas that differ are refused");
  } catch (const InputError& error) {
    expect(error.code() == ExitCode::numerics && names(error.what(), 1), "the refusal is 76 and names the rank");
  }
}

/// A bit that flips where a network's weights lie, in either orientation, is found on its rank alone, even where two
/// replicas could only suspect each other; loading anew sets it right.
void check_flip_in_memory(comm::Communicator& world, Precision precision, std::int64_t zero) {
  comm::Grid grid = comm::make_grid(world, 1);
  train::Learner learner(grid, run_of(zero), precision);
  learner.initialise();
  const int buckets = static_cast<int>(learner.table().buckets.size());
  for (int bucket = 0; bucket <= buckets; ++bucket) {
    for (std::size_t part = 0; part < learner.network().weight_memory(bucket).size(); ++part) {
      const std::span<const std::byte> memory = learner.network().weight_memory(bucket)[part];
      if (world.rank() == 1) {
        const_cast<std::byte&>(memory[memory.size() / 2]) ^= std::byte{1};
      }
      const std::string where = fmt::format("zero {}, bucket {}, part {}", zero, bucket, part);
      try {
        train::require_equal_replicas(grid, learner, 7);
        expect(false, "a flipped bit is refused: " + where);
      } catch (const InputError& error) {
        const std::string text = error.what();
        expect(error.code() == ExitCode::numerics && names(text, 1) && !names(text, 0), where + ": " + text);
      }
    }
  }
  try {
    train::require_equal_replicas(grid, learner, 7);
  } catch (const InputError& error) {
    expect(false, fmt::format("loading anew sets it right: {}", error.what()));
  }
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  for (const std::int64_t zero : {0, 1}) {
    expect(complaint(world, zero, with_flip(false, "")).empty(), fmt::format("equal replicas, zero {}", zero));
  }
  // With shared out masters every element has one owner, from whom all have it.
  expect(complaint(world, 1, with_flip(world.rank() == 1, "lm_head")).empty(), "a single owner's value is everyone's");
  for (int bad = 0; bad < world.size(); ++bad) {
    check_flip(world, bad, "embed_tokens", "embed_tokens");
    check_flip(world, bad, "H.layers.0.o", "H.layers.0");
    check_flip(world, bad, "zL_init", "zL_init");
  }
  check_refusal(world);
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    check_flip_in_memory(world, precision, 0);
    check_flip_in_memory(world, precision, 1);
  }
  std::vector<std::int64_t> worst{failures};
  world.max(worst);
  return worst[0] == 0 ? 0 : 1;
}
