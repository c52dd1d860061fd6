#pragma once
// Speed of a whole training step on synthetic packs: forward, backward at the deepest horizon, reduction, update.
#include <cstdint>
#include <string>

#include "comm/communicator.hpp"
#include "comm/modelled_communicator.hpp"
#include "config/run_config.hpp"
#include "plan/memory.hpp"

namespace hrm::bench {

struct StepOptions {
  std::int64_t sequence = 256;  ///< slots of every sample; a pack's remainder is padding
  std::int64_t prefix = 128;    ///< of them, instruction; supervised from the last prefix token on
  double seconds = 5;           ///< measured for at least this long, and at least three steps
  int modelled_ranks = 0;       ///< not 0: this process is the first of so many data ranks, the others are a clock
  comm::Link link;              ///< of modelled ranks
};

struct StepResult {
  double tokens_per_second = 0;       ///< slots filled, over all ranks
  double model_flops_per_second = 0;  ///< plan/cost.hpp, over all ranks
  double gemm_flops_per_second = 0;   ///< FLOP-weighted rate of this rank's product shapes, measured alone
  double gemm_share = 0;              ///< model_flops_per_second / (ranks gemm_flops_per_second)
  double seconds_per_step = 0;        ///< median
  double seconds_forward = 0;
  double seconds_backward = 0;
  double seconds_communication = 0;
  double seconds_optimizer = 0;
  double seconds_link = 0;  ///< modelled ranks: the link was busy for so long
  /// Modelled ranks: what no overlap can hide: the reduction of the gradients that are final last and the gather of the
  /// weights that are needed first, or the link's work beyond the computation's.
  double seconds_link_bound = 0;
  std::int64_t peak_memory_bytes = 0;    ///< resident set of this process at its largest
  std::int64_t device_memory_bytes = 0;  ///< of the buffers in a device's own memory; the matrix library's are left out
  plan::Memory held;                     ///< bytes of this rank's buffers, host and device, by part
  plan::Memory predicted;                ///< what plan::training_memory says
  std::int64_t steps = 0;
  std::string device;  ///< its name
  std::string precision;
  std::int64_t threads = 0;
  std::int64_t ranks = 0;
};

/// Collective. `config.model` is complete; train.packs and pack_tokens give the batch.
StepResult measure_step(comm::Communicator& group, const config::RunConfig& config, const StepOptions& options);

}  // namespace hrm::bench
