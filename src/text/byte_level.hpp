#pragma once
// The byte alphabet of GPT-2: each of the 256 bytes has a printable stand-in character, so that vocabularies of byte
// strings can be written as text.
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace hrm::text {

/// Stand-in of each byte: itself where it is printable Latin-1 (21..7E, A1..AC, AE..FF), else U+0100 + n for the n-th
/// byte that is not.
const std::array<char32_t, 256>& byte_characters();

/// The byte whose stand-in is `character`, nothing for other characters.
std::optional<unsigned char> byte_of(char32_t character);

/// Bytes → their stand-ins as UTF-8.
std::string to_byte_characters(std::string_view bytes);

/// A token's text → the bytes it stands for: those of its stand-ins if it consists of nothing else, its own UTF-8 bytes
/// otherwise (added tokens with blanks, for instance).
std::string token_bytes(std::string_view token);

}  // namespace hrm::text
