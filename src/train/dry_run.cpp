#include "train/dry_run.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "comm/flat_shards.hpp"
#include "comm/grid.hpp"
#include "comm/tree_plan.hpp"
#include "config/resolve.hpp"
#include "data/shared_corpus.hpp"
#include "model/parameters.hpp"
#include "plan/memory.hpp"
#include "train/init_from.hpp"
#include "train/prepare_run.hpp"
#include "train/start_point.hpp"

namespace hrm::train {
namespace {

constexpr auto parts = static_cast<std::size_t>(MemoryPart::count);

double mebibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

std::string plan_text(data::BatchPlan& plan, const RunFacts& facts) {
  data::Batch batch;
  plan.batch(1, batch);
  std::string text = fmt::format("steps {}  batches by epoch", plan.steps());
  const auto& epochs = plan.batches_by_epoch();
  constexpr std::size_t shown = 8;
  for (std::size_t epoch = 0; epoch < std::min(epochs.size(), shown); ++epoch) {
    text += fmt::format(" {}", epochs[epoch]);
  }
  text += epochs.size() > shown ? fmt::format(" … ({} epochs)", epochs.size()) : "";
  return text + fmt::format(
                    "\nglobal batch {} packs x {} slots; the first holds {} samples, {} supervised tokens, {:.1f} % "
                    "filled\nprecision {}  threads {}\n",
                    plan.packs(), plan.slots(), batch.samples.size(), batch.supervised_total,
                    100.0 * static_cast<double>(batch.used_total) / static_cast<double>(plan.packs() * plan.slots()),
                    facts.precision, facts.threads);
}

std::string header() {
  std::string text = fmt::format("{:>6} {:>6} {:>6} {:>9} {:>12}", "rank", "data", "tensor", "packs", "owned");
  for (std::size_t part = 0; part < parts; ++part) {
    text += fmt::format(" {:>11}", name(static_cast<MemoryPart>(part)));
  }
  return text + fmt::format(" {:>11}  (MiB)\n", "total");
}

std::string memory_columns(const plan::Memory& memory) {
  std::string text;
  for (std::size_t part = 0; part < parts; ++part) {
    text += fmt::format(" {:>11.1f}", mebibytes(memory[static_cast<MemoryPart>(part)]));
  }
  return text + fmt::format(" {:>11.1f}\n", mebibytes(memory.total()));
}

/// One row per rank, and the largest. The ranks of a tensor group hold the same, within a row of states.
std::string rank_rows(const RunFacts& facts, const ParameterTable& table, int ranks) {
  const int tensor = static_cast<int>(facts.config.parallel.tensor);
  const Precision precision = config::precision_type(facts.precision);
  std::string text;
  plan::Memory largest;
  for (int data_rank = 0; data_rank < ranks / tensor; ++data_rank) {
    const plan::RankPlace place{data_rank, ranks / tensor, {0, tensor}, static_cast<int>(facts.threads), facts.device};
    plan::Memory memory = plan::training_memory(facts.config, precision, place);
    if (facts.device == DeviceType::cpu) {
      memory[MemoryPart::workspace] += plan::saving_memory(facts.config, place);
    }
    largest = memory.total() > largest.total() ? memory : largest;
    const comm::PackRange share = comm::pack_share(facts.config.train.packs, data_rank, ranks / tensor);
    const comm::FlatShards shards(table.buckets, data_rank, ranks / tensor);
    const std::int64_t owned = facts.config.parallel.zero > 0 ? shards.size() : table.flat_size;
    const std::string packs = fmt::format("{}..{}", share.first, share.last - 1);
    for (int rank = 0; rank < tensor; ++rank) {
      text += fmt::format("{:>6} {:>6} {:>6} {:>9} {:>12}", data_rank * tensor + rank, data_rank, rank, packs, owned) +
              memory_columns(memory);
    }
  }
  return text + fmt::format("{:<43}", "most") + memory_columns(largest);
}

/// A folder that holds another run is no hindrance to plan a new one.
std::optional<io::CheckpointReader> planned_start(comm::Communicator& world, const std::string& folder,
                                                  const RunOptions& options) {
  try {
    return find_start(world, folder, options);
  } catch (const InputError& error) {
    if (error.code() != ExitCode::cannot_create) {
      throw;
    }
    log::warn("the run would be refused: {}", error.what());
    return std::nullopt;
  }
}

}  // namespace

std::string dry_run(comm::Communicator& world, config::RunConfig config, const RunOptions& options, int ranks) {
  config::check_training(config);
  const comm::Grid grid = comm::pretend_grid(world, 0, ranks, config.parallel.tensor);
  const std::optional<infer::LoadedModel> source = load_source(grid, options, config);
  data::SharedCorpus corpus(world, config.data.path);
  const RunFacts given =
      make_facts(ranks, config, corpus.info(), config.device.type == "cuda" ? DeviceType::cuda : DeviceType::cpu, "");
  check_same_facts(world, given);
  if (source) {
    check_source(*source, given);
  }
  const RunPlan plan(grid, corpus, given, planned_start(world, config.checkpoint.dir, options));
  if (const std::string objection = plan.objection(); !objection.empty()) {
    log::warn("the run would be refused: {}", objection);
  }
  const RunFacts& facts = plan.facts;
  const ParameterTable table = model::parameter_table(facts.config.model, grid.place());
  std::string text = plan_text(*plan.batches, facts);
  text += fmt::format("layout: data {} x tensor {}, zero {}\n", grid.data->size(), grid.tensor->size(),
                      facts.config.parallel.zero) +
          header();
  text += rank_rows(facts, table, ranks);
  return text;
}

}  // namespace hrm::train
