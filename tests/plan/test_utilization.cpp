#include "plan/utilization.hpp"

#include <gtest/gtest.h>

#include "config/resolve.hpp"
#include "model/program.hpp"

namespace hrm::plan {
namespace {

TEST(Utilization, CountsWhatEverySampleOfTheBatchCosts) {
  config::RunConfig config;
  config.model.layers = 4;
  config.model.hidden_size = 32;
  config.model.num_heads = 4;
  config.model.vocab_size = 100;
  config.model = config::complete_model(config.model, 0);
  config.train.pack_tokens = 16;
  const std::vector<std::uint32_t> prefixes{3, 5, 2};
  const std::vector<std::uint32_t> responses{4, 1, 6};
  const data::SampleTable table{prefixes, responses, {}, {}};
  data::Batch batch;
  batch.samples = {2, 0, 1};
  batch.used = {13, 5};
  batch.supervised_total = 11;
  const model::Horizon horizon{5};
  const double pairs = visible_pairs(2, 5, true) + visible_pairs(3, 3, true) + visible_pairs(5, 0, true);
  const double flops = cost(config.model, horizon, {32, 11, pairs}).total_flops();
  config.device.peak_tflops = 2;

  EXPECT_DOUBLE_EQ(*Utilization(config, Precision::fp32, table, "CPU", 3).of(batch, horizon, 0.5),
                   flops / (0.5 * 3 * 2e12));
}

TEST(Utilization, IsNotGuessed) {
  EXPECT_EQ(peak_flops("CPU", Precision::bf16), 0);
  EXPECT_EQ(peak_flops("NVIDIA H100 80GB HBM3", Precision::bf16), 989.4e12);
  EXPECT_FALSE(Utilization({}, Precision::fp32, {}, "CPU", 1).of({}, {5}, 1));
}

}  // namespace
}  // namespace hrm::plan
