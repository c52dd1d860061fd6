#include "train/announce.hpp"

#include "base/buffer.hpp"
#include "base/log.hpp"
#include "base/stop_request.hpp"

namespace hrm::train {

void announce(const RunFacts& facts, const TrainState& state, std::int64_t parameters,
              const std::optional<TimeLimit>& limit) {
  const config::RunConfig& config = facts.config;
  log::info("{} {}: {} parameters, {} steps of {} packs x {} slots, {} on {} rank(s) x {} thread(s)",
            state.step > 0 ? fmt::format("going on from step {} of", state.step) : std::string("training"),
            config.model.architecture, parameters, state.planned_steps, config.train.packs, config.train.pack_tokens,
            facts.precision, facts.ranks, facts.threads);
  log::info("rank 0 holds {:.1f} MiB of buffers (hrm train --dry-run lists every rank's by part)",
            static_cast<double>(memory_bytes_total()) / (1 << 20));
  const std::int64_t groups = facts.ranks / config.parallel.tensor;
  if (config.parallel.tensor > 1) {
    log::info("layout: data {} x tensor {}", groups, config.parallel.tensor);
  }
  if (config.train.packs % groups != 0) {
    log::info("uneven shares: {} data rank(s) work on {} packs of a batch, the others on {}",
              config.train.packs % groups, config.train.packs / groups + 1, config.train.packs / groups);
  }
  const double left = limit ? limit->end_time - wall_clock() : 0;
  if (limit && left < 0) {
    log::warn("the time limit ({}) passed {:.0f} s ago: the run saves and stops", limit->source, -left);
  } else if (limit) {
    log::info("the time limit leaves {:.0f} s ({})", left, limit->source);
  } else {
    log::warn(
        "no time limit is known (run.time_limit, SLURM_JOB_END_TIME, HRM_RUN_TIME_LIMIT): the run cannot save ahead of "
        "one");
  }
  const double memory = 1 / (1 - config.train.ema);
  if (config.train.ema > 0 && static_cast<double>(state.planned_steps) < 5 * memory) {
    log::warn("train.ema = {} remembers {:.0f} steps, the run has {}: the average will lag behind; set train.ema lower",
              config.train.ema, memory, state.planned_steps);
  }
}

}  // namespace hrm::train
