#pragma once
// One value from text and to text, checked against its field.
#include <cstdint>
#include <string>
#include <string_view>

#include "config/fields.hpp"

namespace hrm::config {

/// Sets `value` from `text`. InputError(bad_config) "WHERE: KEY = TEXT: what is wrong; allowed: …".
void set_value(std::string& value, const FieldInfo& info, std::string_view text, const std::string& where);
void set_value(std::int64_t& value, const FieldInfo& info, std::string_view text, const std::string& where);
void set_value(double& value, const FieldInfo& info, std::string_view text, const std::string& where);
void set_value(bool& value, const FieldInfo& info, std::string_view text, const std::string& where);

/// Shortest text that set_value() reads back to the same bits.
std::string value_text(const std::string& value);
std::string value_text(std::int64_t value);
std::string value_text(double value);
std::string value_text(bool value);

/// Sets the field named `key`. InputError(bad_config) naming the nearest known key if there is none.
void set_field(RunConfig& config, const std::string& key, std::string_view text, const std::string& where);

}  // namespace hrm::config
