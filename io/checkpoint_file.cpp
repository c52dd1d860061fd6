#include "io/checkpoint_file.hpp"

#include "base/error.hpp"
#include "io/format.hpp"

namespace hrm::io {
namespace {

template <class T>
void write_lists(h5::File& file, const std::string& group, const std::map<std::string, std::vector<T>>& lists) {
  file.create_group(group);
  for (const auto& [name, values] : lists) {
    file.write_array<T>(group + "/" + name, values);
  }
}

template <class T>
std::map<std::string, std::vector<T>> read_lists(const h5::File& file, const std::string& path) {
  const h5::Location group = file.open_group(path);
  std::map<std::string, std::vector<T>> lists;
  for (const std::string& name : group.children()) {
    lists[name] = group.open_dataset(name, h5::type_of<T>(), 1).template read<T>();
  }
  return lists;
}

void read_field(const h5::Location& state, const char* name, std::int64_t& value) {
  value = state.int64_attribute(name);
  if (value < 0) {
    fail(ExitCode::bad_data, "{}: {}: {} is {}, which no run counts; restore the file from a copy", state.file(),
         state.path(), name, value);
  }
}
void read_field(const h5::Location& state, const char* name, std::uint64_t& value) {
  value = state.uint64_attribute(name);
}
void read_field(const h5::Location& state, const char* name, double& value) {
  value = state.float64_attribute(name);
}
void read_field(const h5::Location& state, const char* name, std::string& value) {
  value = state.string_attribute(name);
}

}  // namespace

bool is_tensor_path(const std::string& path) {
  return path.starts_with("/model/") || path.starts_with("/optimizer/") || path.starts_with("/ema/");
}

void write_meta(h5::File& file, const CheckpointMeta& meta) {
  write_format(file, checkpoint_format);
  file.set_attribute("created_at", meta.created_at);
  h5::Location state = file.create_group("/state");
  for (const StateField& field : state_fields) {
    std::visit([&](auto member) { state.set_attribute(field.name, meta.*member); }, field.member);
  }
  write_lists(file, sampling_path, meta.sampling);
  write_lists(file, guard_path, meta.guard);
  file.write_array<std::int64_t>(skipped_packs_path, meta.skipped_packs);
  if (!meta.products.empty()) {
    file.write_text(products_path, meta.products);
  }
  file.write_text("/config", meta.config_text);
  file.write_text("/tokenizer", meta.tokenizer_json);
}

CheckpointMeta read_meta(const h5::File& file) {
  check_format(file, checkpoint_format);
  CheckpointMeta meta;
  meta.created_by = file.string_attribute("created_by");
  meta.created_at = file.string_attribute("created_at");
  const h5::Location state = file.open_group("/state");
  for (const StateField& field : state_fields) {
    std::visit([&](auto member) { read_field(state, field.name, meta.*member); }, field.member);
  }
  meta.sampling = read_lists<std::int64_t>(file, sampling_path);
  meta.guard = read_lists<double>(file, guard_path);
  meta.skipped_packs = file.open_dataset(skipped_packs_path, h5::Type::int64, 1).read<std::int64_t>();
  meta.products = file.has(products_path) ? file.read_text(products_path) : "";
  meta.config_text = file.read_text("/config");
  meta.tokenizer_json = file.read_text("/tokenizer");
  return meta;
}

}  // namespace hrm::io
