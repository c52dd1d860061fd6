// A configuration as text: what files carry, what --print-config shows, what a resumed run is compared by.
#include <algorithm>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/ini.hpp"
#include "config/resolve.hpp"
#include "config/value.hpp"

namespace hrm::config {
namespace {

/// INI text with `suffix(key)` behind every value.
template <class Suffix>
std::string ini_text(const RunConfig& config, Suffix&& suffix) {
  std::string text;
  std::string_view section;
  for_each_field(config, [&](const FieldInfo& info, const auto& value) {
    const std::size_t dot = info.key.find('.');
    if (info.key.substr(0, dot) != section) {
      text += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", info.key.substr(0, dot));
      section = info.key.substr(0, dot);
    }
    text += fmt::format("{} = {}{}\n", info.key.substr(dot + 1), quoted_if_needed(value_text(value)),
                        suffix(std::string(info.key)));
  });
  return text;
}

bool is_identity_key(std::string_view key) {
  constexpr std::string_view keys[] = {"train.loss", "train.packs",     "train.pack_tokens",
                                       "train.seed", "train.precision", "train.drop_last"};
  return key.starts_with("model.") || std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
}

const std::string* find(const Identity& identity, const std::string& name) {
  const auto found =
      std::find_if(identity.begin(), identity.end(), [&](const auto& entry) { return entry.first == name; });
  return found == identity.end() ? nullptr : &found->second;
}

}  // namespace

std::string to_text(const RunConfig& config) {
  return ini_text(config, [](const std::string&) { return ""; });
}

RunConfig from_text(std::string_view text, const std::string& name) {
  RunConfig config;
  try {
    for (const IniEntry& entry : scan_ini(text, name)) {
      set_field(config, entry.key, entry.value, fmt::format("{}:{}", name, entry.line));
    }
  } catch (const InputError& error) {
    fail(ExitCode::bad_data, "stored configuration: {}; the file is damaged or from another version", error.what());
  }
  return config;
}

std::string print(const Resolved& resolved) {
  return ini_text(resolved.config, [&](const std::string& key) {
    const auto origin = resolved.origins.find(key);
    return fmt::format("  # {}", origin == resolved.origins.end() ? "default" : origin->second);
  });
}

Identity identity(const RunConfig& config, const std::string& corpus_digest, const std::string& sampling_digest) {
  Identity entries;
  for_each_field(config, [&](const FieldInfo& info, const auto& value) {
    if (is_identity_key(info.key)) {
      entries.emplace_back(info.key, value_text(value));
    }
  });
  entries.emplace_back("sampling digest", sampling_digest.empty() ? "none" : sampling_digest);
  entries.emplace_back("corpus digest", corpus_digest);
  return entries;
}

std::vector<std::string> changed_keys(const RunConfig& stored, const RunConfig& given,
                                      const std::function<bool(std::string_view)>& counts) {
  std::vector<std::string> before;
  for_each_field(stored, [&](const FieldInfo&, const auto& value) { before.push_back(value_text(value)); });
  std::vector<std::string> changes;
  std::size_t at = 0;
  for_each_field(given, [&](const FieldInfo& info, const auto& value) {
    const std::string& was = before[at++];
    if (const std::string is = value_text(value); counts(info.key) && was != is) {
      changes.push_back(fmt::format("{} was {}, is {}", info.key, was, is));
    }
  });
  return changes;
}

std::string difference(const Identity& stored, const Identity& given) {
  std::string text;
  for (const auto& [name, value] : given) {
    const std::string* before = find(stored, name);
    if (before == nullptr || *before != value) {
      text += fmt::format("{}: stored {}, given {}\n", name, before == nullptr ? "nothing" : *before, value);
    }
  }
  for (const auto& [name, value] : stored) {
    if (find(given, name) == nullptr) {
      text += fmt::format("{}: stored {}, given nothing\n", name, value);
    }
  }
  return text;
}

}  // namespace hrm::config
