// Configuration files: what is read is written and read back the same; what is accepted is within its limits.
#include "config/ini.hpp"
#include "config/resolve.hpp"
#include "fuzz.hpp"

namespace hrm::fuzz {
namespace {

void quoting_keeps(std::string_view text) {
  std::vector<config::IniEntry> entries;
  if (!accepted([&] { entries = config::scan_ini(text, "fuzz"); })) {
    return;
  }
  for (const config::IniEntry& entry : entries) {
    const auto again = config::scan_ini("k = " + config::quoted_if_needed(entry.value), "again");
    require(again.size() == 1 && again[0].value == entry.value, "a quoted value reads back as itself");
  }
}

void text_keeps(std::string_view text) {
  config::RunConfig config;
  if (!accepted([&] { config = config::from_text(text, "fuzz"); })) {
    return;
  }
  const std::string written = config::to_text(config);
  require(config::to_text(config::from_text(written, "again")) == written, "a configuration reads back as itself");
}

void resolves(std::string_view text) {
  config::Sources sources;
  sources.base = text;
  accepted([&] {
    config::Resolved resolved = config::resolve(sources);
    config::print(resolved);
    const config::ModelConfig model = config::complete_model(resolved.config.model, 1000);
    require(model.vocab_size >= 1000 && model.intermediate_size > 0, "a complete model has its sizes");
    config::tensor_sizes(model);
    config::check_training(resolved.config);
  });
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = hrm::fuzz::text_of(data, size);
  hrm::fuzz::quoting_keeps(text);
  hrm::fuzz::text_keeps(text);
  hrm::fuzz::resolves(text);
  return 0;
}
