#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/nearest.hpp"
#include "config/resolve.hpp"

namespace hrm::config {
namespace {

/// A configuration file that lives as long as the object.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) : path_(std::filesystem::temp_directory_path() / unique_name()) {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  static std::string unique_name() {
    static int count = 0;
    return fmt::format("hrm_test_config_{}_{}.cfg", static_cast<long>(::getpid()), count++);
  }
  std::filesystem::path path_;
};

RunConfig with_sets(std::vector<std::string> sets) {
  Sources sources;
  sources.sets = std::move(sets);
  return resolve(sources).config;
}

std::string error_of(const Sources& sources, ExitCode code = ExitCode::bad_config) {
  try {
    resolve(sources);
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

std::string error_of_set(const std::string& assignment) {
  Sources sources;
  sources.sets = {assignment};
  return error_of(sources);
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Resolve, FilesAreFoundBesideTheConfiguration) {
  const ConfigFile rules("a - 1\n");
  const std::string name = std::filesystem::path(rules.path()).filename().string();
  const ConfigFile file("[data]\nsampling = " + name + "\n[eval]\nbenchmark = nowhere.jsonl\n");
  Sources sources;
  sources.files = {file.path()};

  const RunConfig config = resolve(sources).config;

  EXPECT_TRUE(std::filesystem::equivalent(config.data.sampling, rules.path())) << config.data.sampling;
  EXPECT_EQ(config.eval.benchmark, "nowhere.jsonl") << "what is found nowhere stays as it was given";
}

TEST(Resolve, FilesOfTheCurrentFolderComeFirst) {
  const ConfigFile rules("a - 1\n");
  const std::string here = std::filesystem::relative(rules.path()).string();
  const ConfigFile file("[data]\nsampling = " + here + "\n");
  Sources sources;
  sources.files = {file.path()};

  EXPECT_EQ(resolve(sources).config.data.sampling, here);
}

TEST(Resolve, ValuesWithoutEffectAreOneWarning) {
  Sources sources;
  sources.sets = {"io.hints=a=b", "io.stripe_count=4", "parallel.sequence=false", "train.deterministic=false"};

  const std::vector<std::string> warnings = resolve(sources).warnings;

  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_TRUE(warnings[0].ends_with(": io.hints, io.stripe_count")) << warnings[0];
}

TEST(Resolve, StoredValuesWithoutEffectAreNoWarning) {
  Sources sources;
  sources.base = to_text(with_sets({"io.stripe_count=4", "io.hints=a=b"}));

  EXPECT_TRUE(resolve(sources).warnings.empty());
}

TEST(Resolve, LaterSourcesWin) {
  const ConfigFile first("[train]\nseed = 1\npacks = 1\nbeta1 = 0.1\nbeta2 = 0.1\n");
  const ConfigFile second("[train]\npacks = 2\nbeta1 = 0.2\nbeta2 = 0.2\n");
  Sources sources;
  sources.files = {first.path(), second.path()};
  sources.environment = {{"HRM_TRAIN_BETA1", "0.3"}, {"HRM_TRAIN_BETA2", "0.3"}};
  sources.sets = {"train.beta2=0.4", "train.beta2=0.5"};

  const Resolved resolved = resolve(sources);

  EXPECT_EQ(resolved.config.train.seed, 1);
  EXPECT_EQ(resolved.config.train.packs, 2);
  EXPECT_EQ(resolved.config.train.beta1, 0.3);
  EXPECT_EQ(resolved.config.train.beta2, 0.5);
  EXPECT_EQ(resolved.config.train.ema, 0.9999);
  EXPECT_EQ(resolved.origins.at("train.seed"), first.path() + ":2");
  EXPECT_EQ(resolved.origins.at("train.beta1"), "HRM_TRAIN_BETA1");
  EXPECT_EQ(resolved.origins.at("train.beta2"), "--set");
}

TEST(Resolve, UnknownKeyNamesFileLineKeyAndNearest) {
  const ConfigFile file("[train]\n\nlerning_rate = 1\n");
  Sources sources;
  sources.files = {file.path()};

  const std::string error = error_of(sources);

  EXPECT_TRUE(holds(error, file.path() + ":3: unknown key 'train.lerning_rate'")) << error;
  EXPECT_TRUE(holds(error, "train.learning_rate")) << error;
}

TEST(Resolve, MissingFileIsMissingInput) {
  Sources sources;
  sources.files = {"/nowhere/x.cfg"};

  EXPECT_TRUE(holds(error_of(sources, ExitCode::no_input), "/nowhere/x.cfg"));
}

TEST(Resolve, FolderIsNoFile) {
  Sources sources;
  sources.files = {"/"};

  EXPECT_TRUE(holds(error_of(sources, ExitCode::no_input), "Is a directory"));
}

TEST(Resolve, EmptyFileIsLegal) {
  const ConfigFile file("");
  Sources sources;
  sources.files = {file.path()};

  EXPECT_EQ(resolve(sources).config.train.packs, 16);
}

TEST(Resolve, RangeErrorNamesValueAndRange) {
  const std::string error = error_of_set("train.beta1=1.5");

  EXPECT_TRUE(holds(error, "train.beta1 = 1.5: out of range; allowed: a number in 0 .. 0.9999999")) << error;
}

TEST(Resolve, WrongTypesAreErrors) {
  for (const char* set : {"train.packs=1.5", "train.packs=", "train.packs=1x", "train.packs=99999999999999999999",
                          "train.beta1=nan", "train.beta1=inf", "train.beta1=x", "train.recompute=maybe",
                          "model.norm=none", "data.path=a\nb", "train.packs", "=3", "packs=3"}) {
    EXPECT_NE(error_of_set(set), "no error") << set;
  }
}

TEST(Resolve, UnknownWordListsTheWords) {
  EXPECT_TRUE(holds(error_of_set("model.norm=mid"), "allowed: one of pre, post"));
}

TEST(Resolve, UnknownVariableIsAWarningWithTheNearest) {
  Sources sources;
  sources.environment = {{"HRM_TRAIN_PACK", "3"}, {"HRM_TEST_DATA", "x"}, {"HRM_RUN_TIME_LIMIT", "60"}};

  const Resolved resolved = resolve(sources);

  ASSERT_EQ(resolved.warnings.size(), 1U);
  EXPECT_TRUE(holds(resolved.warnings[0], "HRM_TRAIN_PACKS")) << resolved.warnings[0];
  EXPECT_EQ(resolved.config.run.time_limit, "");
}

TEST(Resolve, KeysWithUnderscoresAreFoundInTheEnvironment) {
  ::setenv("HRM_MODEL_MAX_SEQ_LEN", "77", 1);
  Sources sources;
  sources.environment = hrm_environment();
  ::unsetenv("HRM_MODEL_MAX_SEQ_LEN");

  EXPECT_EQ(resolve(sources).config.model.max_seq_len, 77);
}

TEST(Resolve, HalfLayersFollowsTheArchitecture) {
  EXPECT_TRUE(with_sets({"model.architecture=trm"}).model.half_layers);
  EXPECT_FALSE(with_sets({"model.architecture=ut"}).model.half_layers);
  EXPECT_FALSE(with_sets({"model.half_layers=false"}).model.half_layers);
}

TEST(Resolve, HalfLayersIsRefusedForOneStack) {
  Sources sources;
  sources.sets = {"model.architecture=transformer", "model.half_layers=true"};

  EXPECT_TRUE(holds(error_of(sources), "model.half_layers = true"));
}

TEST(Resolve, RinsHasSevenInnerCycles) {
  EXPECT_EQ(with_sets({"model.architecture=rins"}).model.l_cycles, 7);
  EXPECT_EQ(with_sets({"model.architecture=rins", "model.l_cycles=3"}).model.l_cycles, 3);
}

TEST(Resolve, SizesMustFitTogether) {
  EXPECT_THROW(with_sets({"model.layers=3"}), InputError);
  EXPECT_THROW(with_sets({"model.hidden_size=10", "model.num_heads=4"}), InputError);
  EXPECT_THROW(with_sets({"model.hidden_size=12", "model.num_heads=4"}), InputError);
  EXPECT_THROW(with_sets({"model.bp_min_steps=6"}), InputError);
  EXPECT_NO_THROW(with_sets({"model.layers=6", "model.hidden_size=16", "model.num_heads=4"}));
}

TEST(Resolve, CheckpointMinutesAreAutoOrANumber) {
  EXPECT_EQ(with_sets({"checkpoint.interval_minutes=2.5"}).checkpoint.interval_minutes, "2.5");
  EXPECT_THROW(with_sets({"checkpoint.interval_minutes=soon"}), InputError);
  EXPECT_THROW(with_sets({"checkpoint.interval_minutes=-1"}), InputError);
}

/// What `hrm train --keys` says of a key.
std::string described(const std::string& key) {
  const std::string text = describe_fields();
  const std::size_t at = text.find("  " + key + " ");
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

TEST(Fields, DescriptionSaysWhatMustBeGiven) {
  for (const char* key : {"model.layers", "model.hidden_size", "model.num_heads"}) {
    EXPECT_TRUE(holds(described(key), "in 1 .. ")) << described(key);
    EXPECT_TRUE(holds(described(key), "; required]")) << described(key);
  }
  EXPECT_TRUE(holds(described("train.learning_rate"), "; required]"));
  EXPECT_TRUE(holds(described("data.path"), "[a folder; required]"));
  EXPECT_TRUE(holds(described("checkpoint.dir"), "[a folder; required]"));
}

TEST(Fields, DescriptionNamesTheDefaultsOfArchitectures) {
  EXPECT_TRUE(holds(described("model.l_cycles"), "default 3 (rins: 7)]"));
  EXPECT_TRUE(holds(described("model.half_layers"), "default true (transformer, ut: false)]"));
}

TEST(Fields, DescriptionSaysWhatATextIs) {
  EXPECT_TRUE(holds(described("checkpoint.interval_minutes"), "[minutes or auto; default auto]"));
  EXPECT_TRUE(holds(described("run.time_limit"), "[D-]HH:MM:SS"));
}

TEST(Resolve, StoredTextIsTheBase) {
  Sources sources;
  sources.base = to_text(with_sets({"model.architecture=transformer", "train.seed=5", "train.packs=3"}));
  sources.sets = {"train.packs=4"};

  const RunConfig config = resolve(sources).config;

  EXPECT_EQ(config.train.seed, 5);
  EXPECT_EQ(config.train.packs, 4);
  EXPECT_FALSE(config.model.half_layers);
}

TEST(Resolve, TrainingNamesWhatIsMissing) {
  std::vector<std::string> sets = {"model.layers=4",     "model.hidden_size=32",   "model.num_heads=4",
                                   "train.max_steps=10", "train.pack_tokens=4096", "train.learning_rate=0.1",
                                   "data.path=shards",   "checkpoint.dir=run"};
  EXPECT_NO_THROW(check_training(with_sets(sets)));

  for (std::size_t left_out = 0; left_out < sets.size(); ++left_out) {
    std::vector<std::string> fewer = sets;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(left_out));
    if (sets[left_out] == "train.pack_tokens=4096") {
      fewer.push_back("train.pack_tokens=4095");
    }
    EXPECT_THROW(check_training(with_sets(fewer)), InputError) << sets[left_out];
  }
}

TEST(Resolve, AutoPrecisionPrefersTheStoredOne) {
  EXPECT_EQ(resolved_precision("auto", true), "bf16");
  EXPECT_EQ(resolved_precision("auto", false), "fp32");
  EXPECT_EQ(resolved_precision("auto", true, "fp32"), "fp32");
  EXPECT_EQ(resolved_precision("bf16", false, "fp32"), "bf16");
}

ModelConfig model_of(std::int64_t heads, std::int64_t intermediate, std::int64_t vocabulary) {
  ModelConfig model;
  model.num_heads = heads;
  model.intermediate_size = intermediate;
  model.vocab_size = vocabulary;
  return model;
}

TEST(Tensor, SizesDivideHeadsIntermediateAndVocabulary) {
  EXPECT_EQ(tensor_sizes(model_of(12, 768, 1536)), (std::vector<std::int64_t>{1, 2, 3, 4, 6, 12}));
  EXPECT_EQ(tensor_sizes(model_of(12, 768, 256)), (std::vector<std::int64_t>{1, 2, 4}));
  EXPECT_EQ(tensor_sizes(model_of(12, 9, 1536)), (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(tensor_sizes(model_of(7, 768, 1536)), std::vector<std::int64_t>{1});
}

TEST(Tensor, RefusalNamesWhatDoesNotDivideAndWhatWould) {
  const ModelConfig model = model_of(12, 768, 256);
  EXPECT_NO_THROW(check_tensor(model, 4));

  try {
    check_tensor(model, 24);
    FAIL() << "24 ranks share 12 heads";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_STREQ(error.what(),
                 "parallel.tensor = 24: does not divide model.num_heads = 12, the padded vocabulary = 256; with this "
                 "model it can be 1, 2, 4");
  }
}

TEST(Tensor, RanksOfAGroupAreInRange) {
  EXPECT_EQ(with_sets({"parallel.tensor=8"}).parallel.tensor, 8);
  EXPECT_THROW(with_sets({"parallel.tensor=0"}), InputError);
  EXPECT_TRUE(with_sets({}).parallel.overlap);
  EXPECT_FALSE(with_sets({"parallel.overlap=false"}).parallel.overlap);
}

TEST(Nearest, CountsSwapsAsOneEdit) {
  EXPECT_EQ(edit_distance("tarin", "train"), 1);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace hrm::config
