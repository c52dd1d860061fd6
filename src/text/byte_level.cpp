#include "text/byte_level.hpp"

#include "base/utf8.hpp"

namespace hrm::text {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<std::size_t>(byte)] = stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}

constexpr std::size_t stand_in_limit = 0x144;  // one past the highest stand-in: 68 bytes do not stand for themselves

std::array<int, stand_in_limit> make_bytes() {
  std::array<int, stand_in_limit> bytes;
  bytes.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes[byte_characters()[byte]] = static_cast<int>(byte);
  }
  return bytes;
}

}  // namespace

const std::array<char32_t, 256>& byte_characters() {
  static const std::array<char32_t, 256> characters = make_characters();
  return characters;
}

std::optional<unsigned char> byte_of(char32_t character) {
  static const std::array<int, stand_in_limit> bytes = make_bytes();
  if (character >= stand_in_limit || bytes[character] < 0) {
    return std::nullopt;
  }
  return static_cast<unsigned char>(bytes[character]);
}

std::string to_byte_characters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const char byte : bytes) {
    append_code_point(text, byte_characters()[static_cast<unsigned char>(byte)]);
  }
  return text;
}

std::string token_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = decode_code_point(token, at);
    const std::optional<unsigned char> byte = byte_of(point.value);
    if (!byte) {
      return std::string(token);
    }
    bytes += static_cast<char>(*byte);
    at += point.length;
  }
  return bytes;
}

}  // namespace hrm::text
