// Greedy decoding (golden A.11, C.2) with the cache of `hrm generate`, all prompts side by side.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "model/decoder.hpp"
#include "validate/cases.hpp"
#include "validate/golden_model.hpp"
#include "validate/lead.hpp"
#include "validate/whole_tensors.hpp"

namespace hrm::validate {
namespace {

struct DecodeCase {
  std::string group;
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> generated;  ///< expected
  Reals logits;                         ///< (generated, V), computed
};

void require_tokens(const GoldenFile& file, const std::string& path, const std::vector<std::int32_t>& tokens,
                    std::int64_t vocabulary) {
  if (tokens.empty()) {
    file.refuse(path, "holds no token");
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary) {
      file.refuse(path, fmt::format("{} is outside 0 .. {}", token, vocabulary - 1));
    }
  }
}

std::vector<DecodeCase> read_cases(const GoldenFile& file, std::int64_t vocabulary) {
  const std::int64_t prompts = file.integer_attribute("/", "num_prompts");
  const std::int64_t tokens = file.integer_attribute("/", "new_tokens");
  if (prompts < 1 || tokens < 1 || file.has(fmt::format("/prompt_{}", prompts))) {
    file.refuse("/@num_prompts", "is not the number of prompts");
  }
  std::vector<DecodeCase> cases;
  for (std::int64_t i = 0; i < prompts; ++i) {
    DecodeCase read;
    read.group = fmt::format("/prompt_{}", i);
    read.prompt = file.ids(read.group + "/prompt", {any_extent});
    read.generated = file.ids(read.group + "/generated", {tokens});
    require_tokens(file, read.group + "/prompt", read.prompt, vocabulary);
    require_tokens(file, read.group + "/generated", read.generated, vocabulary);
    cases.push_back(read);
  }
  return cases;
}

std::unique_ptr<model::Decoder> make_decoder(const config::ModelConfig& model, Precision precision,
                                             const std::vector<DecodeCase>& cases, const Layout& layout) {
  model::DecoderLimits limits;
  limits.max_batch = static_cast<std::int64_t>(cases.size());
  for (const DecodeCase& one : cases) {
    const auto prompt = static_cast<std::int64_t>(one.prompt.size());
    limits.prefill_slots += prompt;
    limits.max_context = std::max(limits.max_context, prompt + static_cast<std::int64_t>(one.generated.size()));
  }
  return model::Decoder::make(model, precision, limits, {layout.grid.tensor.get(), layout.config.parallel.sequence},
                              *layout.grid.device);
}

void load_weights(const GoldenFile& file, model::Decoder& decoder) {
  std::vector<float> flat(static_cast<std::size_t>(decoder.table().flat_size));
  std::vector<float> zl_init;
  for (const Parameter& row : decoder.table().rows) {
    const auto count = static_cast<std::size_t>(row.count());
    if (row.trainable) {
      read_slice(file, "/weights", row, 0, std::span(flat).subspan(static_cast<std::size_t>(row.offset), count));
    } else {
      zl_init.resize(count);
      read_slice(file, "/weights", row, 0, zl_init);
    }
  }
  decoder.load(flat, zl_init);
}

void append_logits(std::vector<DecodeCase>& cases, Matrix<const float> logits) {
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const float* row = logits.row(static_cast<std::int64_t>(i));
    cases[i].logits.insert(cases[i].logits.end(), row, row + logits.cols);
  }
}

/// Feeds the expected tokens, so that one wrong choice does not hide the logits behind it.
void decode(model::Decoder& decoder, std::vector<DecodeCase>& cases) {
  std::vector<model::Prompt> prompts;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    prompts.push_back({static_cast<int>(i), cases[i].prompt});
  }
  append_logits(cases, decoder.on_host(decoder.prefill(prompts)));
  for (std::size_t step = 0; step + 1 < cases[0].generated.size(); ++step) {
    std::vector<model::NextToken> next;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      next.push_back({static_cast<int>(i), cases[i].generated[step]});
    }
    append_logits(cases, decoder.on_host(decoder.step(next)));
  }
}

/// Best entry of each row of `logits` and its lead over the second.
void find_best(const Reals& logits, std::size_t rows, Ints& best, Reals& margins) {
  const std::size_t width = logits.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    const Lead found = lead(std::span(logits).subspan(row * width, width));
    best.push_back(found.best);
    margins.push_back(found.margin);
  }
}

void compare(const GoldenFile& file, const DecodeCase& one, std::int64_t vocabulary, const Limits& limits,
             Report& report) {
  const std::string name = one.group.substr(1);
  const auto count = static_cast<std::int64_t>(one.generated.size());
  const Reals logits = file.reals(one.group + "/logits", {count, vocabulary});
  const Reals margins = file.reals(one.group + "/margins", {count});
  double largest = 0;
  for (const double logit : logits) {
    largest = std::max(largest, std::abs(logit));
  }
  Ints best;
  Reals computed_margins;
  find_best(one.logits, one.generated.size(), best, computed_margins);
  report.reals(name + "/logits", one.logits, logits, limits.value);
  report.reals(name + "/margins", computed_margins, margins, 2 * limits.value, largest);
  const double smallest = *std::min_element(margins.begin(), margins.end());
  if (report.precision() == Precision::fp32 || smallest > 2 * limits.value * largest) {
    report.counts(name + "/generated", best, Ints(one.generated.begin(), one.generated.end()));
  }
}

}  // namespace

void validate_decode(const GoldenFile& file, const Layout& layout, Report& report) {
  const config::ModelConfig model = read_model_config(file, report);
  // Nothing is shared between groups: each decodes all prompts.
  check_layout(file, model, layout.grid.data->size(), layout);
  std::vector<DecodeCase> cases = read_cases(file, model.vocab_size);
  const auto decoder = make_decoder(model, report.precision(), cases, layout);
  check_weights(file, decoder->table(), report);
  load_weights(file, *decoder);

  decode(*decoder, cases);

  const Limits limits = model_limits(model, report.precision());
  for (const DecodeCase& one : cases) {
    compare(file, one, model.vocab_size, limits, report);
  }
}

}  // namespace hrm::validate
