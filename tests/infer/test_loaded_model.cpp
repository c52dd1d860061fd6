#include "infer/loaded_model.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "io/checkpoint_writer.hpp"
#include "tests/infer/small_model.hpp"
#include "tests/infer/test_folder.hpp"

namespace hrm::infer {
namespace {

using test::SmallModel;

/// The model's tensors under /model and, if wanted, negated under /ema.
class Checkpoint {
 public:
  Checkpoint(const SmallModel& model, bool with_average) : model_(model), average_(model.flat) {
    for (float& value : average_) {
      value = -value;
    }
    for (const Parameter& row : model::parameter_table(model.config).rows) {
      const float* data = row.trainable ? model.flat.data() + row.offset : model.zl_init.data();
      parts.push_back({"/model/" + row.name, row.shape, 0, row.count(), data});
      if (with_average && row.trainable) {
        parts.push_back({"/ema/" + row.name, row.shape, 0, row.count(), average_.data() + row.offset});
      }
    }
  }

  std::filesystem::path save(comm::Communicator& group) const {
    config::RunConfig config;
    config.model = model_.config;
    io::CheckpointMeta meta;
    meta.run_id = "test";
    meta.step = 3;
    meta.precision = "fp32";
    meta.config_text = config::to_text(config);
    meta.tokenizer_json = model_.tokenizer.json();
    return io::CheckpointWriter(group, test::test_folder(), "test").save(meta, parts);
  }

  std::vector<io::TensorPart> parts;

 private:
  const SmallModel& model_;
  std::vector<float> average_;
};

ExitCode refusal(const Checkpoint& checkpoint, WeightsKind weights) {
  const auto alone = comm::serial_communicator();
  try {
    load_model(*alone, checkpoint.save(*alone), weights);
  } catch (const InputError& error) {
    return error.code();
  }
  return ExitCode::ok;
}

TEST(LoadModel, TakesTheAverageUnlessToldOtherwise) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  const auto file = Checkpoint(model, true).save(*alone);

  const LoadedModel average = load_model(*alone, file, weights_kind(""));
  const LoadedModel raw = load_model(*alone, file, weights_kind("raw"));

  EXPECT_TRUE(average.averaged);
  EXPECT_FALSE(raw.averaged);
  EXPECT_EQ(std::vector<float>(raw.flat.data(), raw.flat.data() + raw.flat.size()), model.flat);
  EXPECT_EQ(average.flat[0], -model.flat[0]);
  EXPECT_EQ(average.zl_init, model.zl_init);
}

TEST(LoadModel, WithoutAnAverageTheWeightsServe) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();

  EXPECT_FALSE(load_model(*alone, Checkpoint(model, false).save(*alone), WeightsKind::ema_or_raw).averaged);
}

TEST(LoadModel, RefusesAnAverageThatIsNotThere) {
  const SmallModel model;

  EXPECT_EQ(refusal(Checkpoint(model, false), WeightsKind::ema), ExitCode::bad_data);
}

TEST(LoadModel, RefusesTensorsOfAnotherShapeThanTheConfiguration) {
  const SmallModel model;
  Checkpoint checkpoint(model, false);
  std::swap(checkpoint.parts[0].shape[0], checkpoint.parts[0].shape[1]);

  EXPECT_EQ(refusal(checkpoint, WeightsKind::raw), ExitCode::bad_data);
}

TEST(LoadModel, RefusesAMissingTensor) {
  const SmallModel model;
  Checkpoint checkpoint(model, false);
  checkpoint.parts.pop_back();

  EXPECT_EQ(refusal(checkpoint, WeightsKind::raw), ExitCode::bad_data);
}

TEST(LoadModel, RefusesAnUnknownKindOfWeights) {
  EXPECT_THROW(weights_kind("best"), InputError);
}

}  // namespace
}  // namespace hrm::infer
