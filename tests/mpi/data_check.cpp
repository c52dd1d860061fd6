// Run under mpirun with any number of ranks: every rank gets the planned packs, and one rank's failing read ends all
// ranks with one message. Exit 0 if all holds; each failure is one line on standard error.
#include <fmt/core.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/error.hpp"
#include "comm/mpi_session.hpp"
#include "data/loader.hpp"
#include "tests/data/written_corpus.hpp"

namespace {

using namespace hrm;
using namespace hrm::data;

constexpr std::int64_t slots = 96;
int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

config::TrainConfig run_of(std::int64_t packs) {
  config::TrainConfig train;
  train.packs = packs;
  train.pack_tokens = slots;
  train.epochs = 2;
  return train;
}

void check_packs(comm::Communicator& group, SharedCorpus& corpus, BatchPlan& plan) {
  const comm::PackRange share = comm::pack_share(plan.packs(), group.rank(), group.size());
  Loader loader(group, corpus, plan, share, Supervise::response);
  for (std::int64_t step = 1; step <= plan.steps(); ++step) {
    const std::vector<Pack>& packs = loader.load(step);
    for (std::int64_t p = share.first; p < share.last; ++p) {
      const Pack wanted = expected_pack(loader.batch().pack(p), slots);
      const Pack& pack = packs[static_cast<std::size_t>(p - share.first)];
      expect(pack.inputs == wanted.inputs && pack.labels == wanted.labels, fmt::format("step {} pack {}", step, p));
    }
  }
}

/// The plan of a lone process: what every rank must have, however many there are.
void check_plan(comm::Communicator& group, SharedCorpus& corpus, BatchPlan& plan) {
  const auto alone = comm::serial_communicator();
  BatchPlan expected(*alone, corpus.table(), run_of(plan.packs()), slots, {});
  expect(plan.steps() == expected.steps(), "planned steps");
  for (std::int64_t step = 1; step <= plan.steps(); ++step) {
    Batch batch;
    Batch wanted;
    plan.batch(step, batch);
    expected.batch(step, wanted);
    expect(batch.samples == wanted.samples, fmt::format("rank {} step {}", group.rank(), step));
  }
}

/// Tokens beyond the vocabulary, on a disk that went bad after the shards were verified.
void overwrite(const std::filesystem::path& path) {
  const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.write(std::string(size, '\xff').data(), static_cast<std::streamsize>(size));
}

void check_failing_read(comm::Communicator& group, SharedCorpus& corpus, BatchPlan& plan) {
  const int culprit = group.size() - 1;
  const comm::PackRange share = comm::pack_share(plan.packs(), group.rank(), group.size());
  std::string message;
  try {
    Loader loader(group, corpus, plan, share, Supervise::response);
    group.barrier();
    if (group.rank() == culprit) {
      for (const io::ShardInfo& shard : corpus.info().shards) {
        overwrite(corpus.info().folder / shard.name);
      }
    }
    for (std::int64_t step = 1; step <= plan.steps(); ++step) {
      loader.load(step);
    }
  } catch (const InputError& error) {
    message = error.what();
  }
  expect(message.find("shard-0000") != std::string::npos, fmt::format("message \"{}\" names the shard", message));
  const std::string prefix = group.size() > 1 ? fmt::format("rank {}: ", culprit) : "";
  expect(message.starts_with(prefix), fmt::format("message \"{}\" names rank {}", message, culprit));
}

/// The last rank's folder holds another corpus.
void check_other_corpus(comm::Communicator& group, const std::filesystem::path& folder) {
  const int culprit = group.size() - 1;
  const auto alone = comm::serial_communicator();
  write_corpus(*alone, folder, group.rank() == culprit ? 200 : 300);
  std::string message;
  try {
    SharedCorpus corpus(group, folder);
  } catch (const InputError& error) {
    expect(error.code() == ExitCode::bad_data, "another corpus is bad data");
    message = error.what();
  }
  expect(message.empty() == (group.size() == 1), fmt::format("ranks compare their corpora: \"{}\"", message));
  expect(group.size() == 1 || message.starts_with(fmt::format("rank {}: ", culprit)),
         fmt::format("message \"{}\" names rank {}", message, culprit));
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  {
    // One copy per rank, so that one rank's copy alone can be damaged.
    const auto alone = comm::serial_communicator();
    const TemporaryFolder folder(fmt::format("hrm-data-check-{}", getpid()));
    write_corpus(*alone, folder.path() / "shards", 300);
    SharedCorpus corpus(world, folder.path() / "shards");
    BatchPlan plan(corpus.node(), corpus.table(), run_of(5), slots, {});
    check_plan(world, corpus, plan);
    check_packs(world, corpus, plan);
    check_failing_read(world, corpus, plan);
    check_other_corpus(world, folder.path() / "other");
  }
  std::array<std::int64_t, 1> worst{failures};
  world.max(worst);
  return worst[0] == 0 ? 0 : 1;
}
