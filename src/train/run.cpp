#include "train/run.hpp"

#include <memory>

#include "base/log.hpp"
#include "comm/grid.hpp"
#include "comm/use_device.hpp"
#include "config/resolve.hpp"
#include "train/init_from.hpp"
#include "train/prepare_run.hpp"
#include "train/roll_call.hpp"
#include "train/run_loop.hpp"
#include "train/watchdog.hpp"

namespace hrm::train {
namespace {

/// Lives to the end of the process, for MPI_Finalize waits for the other ranks, too.
Watchdog& make_watchdog(comm::Communicator& world, const config::RunConfig& config) {
  static std::unique_ptr<Watchdog> watchdog;
  watchdog = std::make_unique<Watchdog>(world, config.watchdog, config.checkpoint.dir);
  return *watchdog;
}

/// While it lives the watchdog leaves its verdict in the run folder.
class VerdictKeeper {
 public:
  VerdictKeeper(Watchdog& watchdog, RunFolder& folder) : watchdog_(watchdog) {
    watchdog_.set_verdict([&folder](const auto& text, const auto& hosts) { folder.lost_peer(text, hosts); });
  }
  ~VerdictKeeper() {
    watchdog_.set_verdict({});
    watchdog_.enter("exit", 0);
  }
  VerdictKeeper(const VerdictKeeper&) = delete;
  VerdictKeeper& operator=(const VerdictKeeper&) = delete;

 private:
  Watchdog& watchdog_;
};

ExitCode train_watched(comm::Communicator& world, config::RunConfig config, const RunOptions& options,
                       Watchdog& watchdog) {
  comm::Grid grid = comm::make_grid(world, config.parallel.tensor);
  comm::use_device(grid, comm::choose_device(world, config.device.type), config.watchdog.least_seconds);
  std::optional<infer::LoadedModel> source = load_source(grid, options, config);
  data::SharedCorpus corpus(world, config.data.path);
  RunFacts facts =
      make_facts(world.size(), config, corpus.info(), grid.device->type(), comm::device_fingerprint(*grid.device));
  check_same_facts(world, facts);
  if (source) {
    check_source(*source, facts);
  }
  // A device's parts are a copy already, which a save has to itself.
  const bool stages = facts.config.checkpoint.async && grid.device->is_host();
  RunFolder folder(world, facts.config, stages ? facts.config.checkpoint.staging_bytes : 0);
  const VerdictKeeper keeper(watchdog, folder);
  if (world.rank() == 0) {
    delete_roll_calls(folder.path(), watchdog.token());
  }
  try {
    RunPlan plan(grid, corpus, std::move(facts), folder.start_point(options));
    if (const std::string objection = plan.objection(); !objection.empty()) {
      fail(ExitCode::bad_config, "{}", objection);
    }
    Run run(grid, options, corpus, plan, source, folder, watchdog);
    source.reset();
    return run.execute();
  } catch (const InputError& error) {
    folder.fail_with(error.code(), error.what());  // the verdict outlives the launcher; main reports
    throw;
  } catch (const std::exception& error) {
    folder.fail_with(ExitCode::internal, error.what());
    throw;
  }
}

}  // namespace

ExitCode train(comm::Communicator& world, const config::RunConfig& config, const RunOptions& options) {
  config::check_training(config);
  Watchdog& watchdog = make_watchdog(world, config);
  try {
    return train_watched(world, config, options, watchdog);
  } catch (const InputError& error) {
    if (error.code() != ExitCode::stopped) {
      throw;
    }
    log::info("{}", error.what());  // while it was set up: there was no step to save
    return ExitCode::stopped;
  }
}

}  // namespace hrm::train
