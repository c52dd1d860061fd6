#include "io/inspect.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/utf8.hpp"
#include "io/child_process.hpp"
#include "io/format.hpp"
#include "io/integrity.hpp"
#include "io/run_files.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

using Json = nlohmann::ordered_json;

Json attribute_value(const h5::Object& object, const std::string& name) {
  switch (object.attribute_type(name)) {
    case h5::Type::string:
      return lossy_utf8(object.string_attribute(name));
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
    try {
      values[lossy_utf8(name)] = attribute_value(object, name);
    } catch (const InputError&) {
      values[lossy_utf8(name)] = nullptr;  // a list, say, which no file of this program has
    }
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

/// Seconds after which a damaged file is given up: damaged metadata can lead in circles.
unsigned patience(const std::filesystem::path& path) {
  return 20 + static_cast<unsigned>(std::filesystem::file_size(path) / (std::uintmax_t{50} << 20));
}

/// Format, attributes and data sets as HDF5 shows them.
Json contents(const h5::File& file) {
  Json description = {{"attributes", attributes_of(file)}};
  for (const char* group : {"/state", "/run"}) {
    if (file.has(group)) {
      description[group + 1] = attributes_of(file.open_group(group));
    }
  }
  const DatasetDigests digests = file.has(integrity_path) ? read_integrity(file) : DatasetDigests();
  Json& list = description["datasets"] = Json::array();
  for (const std::string& name : file.dataset_paths()) {
    const h5::Dataset dataset = file.open_dataset(name);
    Json row = {{"path", lossy_utf8(name)}, {"type", h5::name(dataset.type())}, {"shape", dataset.shape()}};
    if (const auto digest = digests.find(name); digest != digests.end()) {
      row["digest"] = hex(digest->second);
    }
    row.update(attributes_of(dataset));
    list.push_back(row);
  }
  return description;
}

/// What HDF5 can still read of a file whose digest is missing or wrong (`error`).
Json describe_damaged(const std::filesystem::path& path, const InputError& error) {
  if (error.code() != ExitCode::bad_data || !std::filesystem::is_regular_file(path)) {
    throw error;
  }
  const ChildAnswer answer = run_in_child(patience(path), [&] { return contents(h5::File::open(path)).dump(); });
  if (answer.kind == ChildAnswer::Kind::crash) {
    fail(error.code(), "{} (HDF5 cannot read it either: {})", error.what(), answer.text);
  }
  if (answer.kind == ChildAnswer::Kind::error) {
    throw error;
  }
  Json description = {{"file", path.string()}, {"damage", error.what()}};
  description.update(Json::parse(answer.text));
  return description;
}

}  // namespace

Json describe(const std::filesystem::path& named) {
  const std::filesystem::path path = resolved(named);
  UserBlock block;
  try {
    block = verify_user_block(path);
  } catch (const InputError& error) {
    return describe_damaged(path, error);
  }
  const h5::File file = h5::File::open(path);
  Json description = {{"file", named.string()}, {"format", known_format(file)}};
  description["bytes"] = block.length;
  description["file_digest"] = hex(block.digest);
  description.update(contents(file));
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

std::int64_t verify_file(const std::filesystem::path& named) {
  const std::filesystem::path path = resolved(named);
  read_user_block(path);  // a foreign or truncated file is told as such at once
  try {
    verify_user_block(path);
  } catch (const InputError& error) {
    const auto locate = [&]() -> std::string {
      verify_integrity(h5::File::open(path));
      return error.what();  // no data set: the damage lies in what is around them
    };
    const ChildAnswer answer = run_in_child(patience(path), locate);
    if (answer.kind == ChildAnswer::Kind::crash) {
      fail(error.code(), "{} (HDF5 cannot tell where: {})", error.what(), answer.text);
    }
    throw InputError(error.code(), answer.text);
  }
  const h5::File file = h5::File::open(path);
  known_format(file);
  verify_integrity(file);
  return static_cast<std::int64_t>(read_integrity(file).size());
}

}  // namespace hrm::io
