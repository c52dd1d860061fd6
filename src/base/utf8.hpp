#pragma once
// UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hrm {

/// One code point and the bytes it takes.
struct CodePoint {
  char32_t value;
  std::size_t length;
};

/// Length of the well-formed sequence at `text[at]`, 0 where there is none.
std::size_t utf8_sequence_length(std::string_view text, std::size_t at);

/// Offset of the first byte that is not part of well-formed UTF-8; nothing if all is well.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

/// Code point at `text[at]`; `text` is well-formed and `at` the start of a sequence.
CodePoint decode_code_point(std::string_view text, std::size_t at);

void append_code_point(std::string& text, char32_t value);

/// The first `count` code points of well-formed text.
std::string_view first_code_points(std::string_view text, std::size_t count);

/// Each maximal part of an ill-formed sequence becomes one U+FFFD (Unicode, chapter 3, "U+FFFD substitution of maximal
/// subparts").
std::string lossy_utf8(std::string_view bytes);

}  // namespace hrm
