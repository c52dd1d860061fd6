#include "io/inspect.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <optional>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/format.hpp"
#include "io/integrity.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

using Json = nlohmann::ordered_json;

Json attribute_value(const h5::Object& object, const std::string& name) {
  switch (object.attribute_type(name)) {
    case h5::Type::string:
      return object.string_attribute(name);
    case h5::Type::float32:
    case h5::Type::float64:
      return object.float64_attribute(name);
    case h5::Type::uint64:
      return name.ends_with("digest") ? Json(hex(object.uint64_attribute(name))) : Json(object.uint64_attribute(name));
    default:
      return object.int64_attribute(name);
  }
}

Json attributes_of(const h5::Object& object) {
  Json values = Json::object();
  for (const std::string& name : object.attribute_names()) {
    values[name] = attribute_value(object, name);
  }
  return values;
}

/// The format named by a file whose digest is right.
std::string known_format(const h5::File& file) {
  std::string format = file.string_attribute("format");
  for (const char* known : {shard_format, corpus_format, checkpoint_format, metrics_format}) {
    if (format == known) {
      check_format(file, format);
      return format;
    }
  }
  fail(ExitCode::bad_data, "{}: its format \"{}\" is none of this program's; give a shard, checkpoint or metrics file",
       file.file(), format);
}

/// Seconds after which the search for the damaged data set is given up: damaged metadata can lead in circles.
unsigned patience(const std::filesystem::path& path) {
  return 20 + static_cast<unsigned>(std::filesystem::file_size(path) / (std::uintmax_t{50} << 20));
}

/// In a child process: why `path` does not verify, as far as HDF5 can still read it.
[[noreturn]] void report_damage(const std::filesystem::path& path, int pipe_end) {
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(patience(path));
  std::string words;
  try {
    verify_integrity(h5::File::open(path));
  } catch (const std::exception& error) {
    words = error.what();
  }
  const bool written = ::write(pipe_end, words.data(), words.size()) == static_cast<ssize_t>(words.size());
  ::_exit(written ? 0 : 1);
}

/// What is damaged in a file whose digest differs. HDF5 may crash on it, so a child process tries.
std::optional<std::string> locate_damage(const std::filesystem::path& path) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    return std::nullopt;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    report_damage(path, ends[1]);
  }
  ::close(ends[1]);
  std::string words;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; child > 0 && (got = ::read(ends[0], chunk.data(), chunk.size())) > 0;) {
    words.append(chunk.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  const bool ended =
      child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return ended && !words.empty() ? std::optional(words) : std::nullopt;
}

}  // namespace

Json describe(const std::filesystem::path& path) {
  const UserBlock block = verify_user_block(path);
  const h5::File file = h5::File::open(path);
  Json description;
  description["file"] = path.string();
  description["format"] = known_format(file);
  description["bytes"] = block.length;
  description["file_digest"] = hex(block.digest);
  description["attributes"] = attributes_of(file);
  for (const char* group : {"/state", "/run"}) {
    if (file.has(group)) {
      description[group + 1] = attributes_of(file.open_group(group));
    }
  }
  const DatasetDigests digests = read_integrity(file);
  Json& list = description["datasets"] = Json::array();
  for (const std::string& name : file.dataset_paths()) {
    const h5::Dataset dataset = file.open_dataset(name);
    Json row = {{"path", name}, {"type", h5::name(dataset.type())}, {"shape", dataset.shape()}};
    if (const auto digest = digests.find(name); digest != digests.end()) {
      row["digest"] = hex(digest->second);
    }
    row.update(attributes_of(dataset));
    list.push_back(row);
  }
  return description;
}

std::string describe_text(const Json& description) {
  std::string text;
  for (const auto& [key, value] : description.items()) {
    if (key == "datasets") {
      continue;
    }
    if (!value.is_object()) {
      text += fmt::format("{}: {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
      continue;
    }
    text += fmt::format("{}:\n", key);
    for (const auto& [name, inner] : value.items()) {
      const std::string shown = inner.is_string() ? inner.get<std::string>() : inner.dump();
      const bool long_text = shown.size() > 200 || shown.find('\n') != std::string::npos;
      text += fmt::format("  {}: {}\n", name, long_text ? fmt::format("({} characters)", shown.size()) : shown);
    }
  }
  text += "datasets:\n";
  for (const Json& row : description.at("datasets")) {
    const std::string step = row.contains("step") ? fmt::format("  step {}", row["step"].dump()) : "";
    text += fmt::format("  {:<44} {:<8} {:<18} {}{}\n", row["path"].get<std::string>(), row["type"].get<std::string>(),
                        row["shape"].dump(), row.value("digest", ""), step);
  }
  return text;
}

std::int64_t verify_file(const std::filesystem::path& path) {
  read_user_block(path);  // a foreign or truncated file is told as such at once
  try {
    verify_user_block(path);
  } catch (const InputError& error) {
    if (const std::optional<std::string> words = locate_damage(path)) {
      throw InputError(error.code(), *words);
    }
    throw;
  }
  const h5::File file = h5::File::open(path);
  known_format(file);
  verify_integrity(file);
  return static_cast<std::int64_t>(read_integrity(file).size());
}

}  // namespace hrm::io
