#include "plan/memory.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <vector>

#include "comm/grid.hpp"
#include "config/resolve.hpp"
#include "tests/support/test_device.hpp"
#include "train/learner.hpp"

namespace hrm::plan {
namespace {

constexpr auto parts = static_cast<std::size_t>(MemoryPart::count);

struct Layout {
  int rank;
  int ranks;
  int tensor;
  int zero;
  bool sequence;
  bool recompute;
  bool deterministic;
  const char* precision;
  const char* architecture;
};

config::RunConfig run_config(const Layout& layout) {
  config::RunConfig config;
  config.model.architecture = layout.architecture;
  config.model.half_layers = config.model.architecture != "transformer" && config.model.architecture != "ut";
  config.model.layers = 4;
  config.model.hidden_size = 256;
  config.model.num_heads = 8;
  config.model.max_seq_len = 256;
  config.model = config::complete_model(config.model, 3000);
  config.train.packs = 12;
  config.train.pack_tokens = 512;
  config.train.recompute = layout.recompute;
  config.train.deterministic = layout.deterministic;
  config.parallel.tensor = layout.tensor;
  config.parallel.zero = layout.zero;
  config.parallel.sequence = layout.sequence;
  return config;
}

class TrainingMemory : public testing::TestWithParam<Layout> {};

/// What a learner allocates, by part; the packs of `data` belong to the loader.
TEST_P(TrainingMemory, IsWhatALearnerHolds) {
  const Layout layout = GetParam();
  const config::RunConfig config = run_config(layout);
  const Precision precision = config::precision_type(layout.precision);
  const auto world = comm::serial_communicator();
  comm::Grid grid = comm::pretend_grid(*world, layout.rank, layout.ranks, layout.tensor);
  grid.device = &test::test_device();
  { const train::Learner first(grid, config, precision); }  // grows the matrix library's own scratch, which stays
  std::vector<double> before;
  for (std::size_t part = 0; part < parts; ++part) {
    before.push_back(static_cast<double>(memory_bytes(static_cast<MemoryPart>(part))));
  }

  const train::Learner learner(grid, config, precision);
  const Memory expected =
      training_memory(config, precision,
                      {grid.data->rank(), grid.data->size(), grid.place(), omp_get_max_threads(), grid.device->type()});

  for (const MemoryPart part : {MemoryPart::weights, MemoryPart::gradients, MemoryPart::tree, MemoryPart::optimizer,
                                MemoryPart::activations, MemoryPart::workspace}) {
    const double held = static_cast<double>(memory_bytes(part)) - before[static_cast<std::size_t>(part)];
    const auto predicted = static_cast<double>(expected[part]);
    EXPECT_NEAR(predicted, held, 0.05 * held) << name(part);
    RecordProperty(name(part), std::to_string(predicted / held));
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, TrainingMemory,
                         testing::Values(Layout{0, 1, 1, 1, true, false, true, "fp32", "hrm"},
                                         Layout{0, 1, 1, 1, true, false, true, "bf16", "hrm"},
                                         Layout{2, 5, 1, 1, true, false, true, "bf16", "hrm"},
                                         Layout{1, 3, 1, 0, true, false, true, "fp32", "rins"},
                                         Layout{3, 4, 2, 1, true, false, true, "bf16", "hrm"},
                                         Layout{5, 8, 4, 1, false, false, true, "fp32", "transformer"},
                                         Layout{11, 12, 1, 1, true, true, true, "bf16", "ut"},
                                         Layout{7, 24, 2, 1, true, false, false, "bf16", "trm"}));

}  // namespace
}  // namespace hrm::plan
