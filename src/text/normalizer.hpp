#pragma once
#include <string>
#include <string_view>

namespace hrm::text {

enum class Normalization { none, nfc };

/// `utf8` (well-formed) in Unicode normalization form C. Text whose code points are all below U+0300 is returned as it
/// is: nothing there decomposes or combines.
std::string to_nfc(std::string_view utf8);

/// True where to_nfc certainly changes nothing, found by a scan for lead bytes.
bool is_plainly_nfc(std::string_view utf8);

}  // namespace hrm::text
