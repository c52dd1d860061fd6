#include "infer/loaded_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "io/checkpoint_writer.hpp"
#include "tests/infer/small_model.hpp"
#include "tests/infer/test_folder.hpp"
#include "tests/io/io_samples.hpp"

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
      parts.push_back({"/model/" + row.name, row.slice, 0, row.count(), data});
      if (with_average && row.trainable) {
        parts.push_back({"/ema/" + row.name, row.slice, 0, row.count(), average_.data() + row.offset});
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
  std::vector<std::int64_t>& shape = checkpoint.parts[0].slice.logical_shape;
  std::swap(shape[0], shape[1]);

  EXPECT_EQ(refusal(checkpoint, WeightsKind::raw), ExitCode::bad_data);
}

TEST(LoadModel, RefusesAMissingTensor) {
  const SmallModel model;
  Checkpoint checkpoint(model, false);
  checkpoint.parts.pop_back();

  EXPECT_EQ(refusal(checkpoint, WeightsKind::raw), ExitCode::bad_data);
}

TEST(LoadModel, HoldsTheSlicesOfItsPlace) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  const auto file = Checkpoint(model, false).save(*alone);
  const ParameterTable whole = model::parameter_table(model.config);
  for (const TensorPlace place : {TensorPlace{0, 2}, TensorPlace{1, 2}}) {
    const ParameterTable table = model::parameter_table(model.config, place);

    const LoadedModel loaded = load_model(*alone, file, WeightsKind::raw, place);

    EXPECT_EQ(loaded.flat.size(), table.flat_size);
    EXPECT_EQ(loaded.zl_init, model.zl_init);
    for (const Parameter& row : table.rows) {
      if (!row.trainable) {
        continue;
      }
      const Parameter& tensor = *whole.find(row.name);
      const auto first = model.flat.begin() + tensor.offset;
      const std::vector<float> expected = io::slice_values(row.slice, {first, first + tensor.count()});
      const std::span<const float> held = loaded.flat.span(row.offset, row.count());
      EXPECT_EQ(2 * row.count(), tensor.count()) << row.name;
      EXPECT_TRUE(std::ranges::equal(held, expected)) << row.name << " of rank " << place.rank;
    }
  }
}

TEST(LoadModel, RefusesARankTooManyForTheHeads) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  const auto file = Checkpoint(model, false).save(*alone);

  try {
    load_model(*alone, file, WeightsKind::raw, {0, 4});
    FAIL() << "four ranks share two heads";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_NE(std::string(error.what()).find("model.num_heads = 2"), std::string::npos) << error.what();
  }
}

TEST(LoadModel, RefusesAnUnknownKindOfWeights) {
  EXPECT_THROW(weights_kind("best"), InputError);
}

}  // namespace
}  // namespace hrm::infer
