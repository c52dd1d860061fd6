#include "io/metrics_columns.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace hrm::io {
namespace {

using Json = nlohmann::json;

double real_of(const Json* value) {
  return value != nullptr && value->is_number() ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::int64_t integer_of(const Json* value) {
  constexpr double limit = 9.2e18;
  if (value == nullptr || !value->is_number()) {
    return 0;
  }
  return value->is_number_float() && !(std::abs(value->get<double>()) < limit) ? 0 : value->get<std::int64_t>();
}

std::uint64_t digest_of(const Json* value) {
  return value != nullptr && value->is_string()
             ? std::strtoull(value->get_ref<const std::string&>().c_str(), nullptr, 16)
             : 0;
}

std::string text_of(const Json* value) {
  if (value == nullptr || value->is_null()) {
    return "";
  }
  return value->is_string() ? value->get<std::string>() : value->dump();
}

template <class Convert>
auto convert(const std::vector<const Json*>& rows, const std::string& name, Convert one) {
  std::vector<decltype(one(nullptr))> values;
  values.reserve(rows.size());
  for (const Json* row : rows) {
    const auto found = row->find(name);
    values.push_back(one(found == row->end() ? nullptr : &*found));
  }
  return values;
}

}  // namespace

std::string object_name(std::string name) {
  std::ranges::replace_if(
      name, [](char c) { return c == '/' || c == '\0'; }, '_');
  return name.empty() || name == "." ? "_" : name;
}

void write_column(h5::File& file, const std::string& group, const std::string& name, ColumnKind kind,
                  const std::vector<const Json*>& rows) {
  std::string path = group + "/" + object_name(name);
  while (file.has(path)) {
    path += '_';  // two names may differ in nothing but what stands for _
  }
  switch (kind) {
    case ColumnKind::real:
      return file.write_array<double>(path, convert(rows, name, real_of));
    case ColumnKind::integer:
      return file.write_array<std::int64_t>(path, convert(rows, name, integer_of));
    case ColumnKind::digest:
      return file.write_array<std::uint64_t>(path, convert(rows, name, digest_of));
    case ColumnKind::text:
      return file.write_strings(path, convert(rows, name, text_of));
  }
}

}  // namespace hrm::io
