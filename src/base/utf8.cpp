#include "base/utf8.hpp"

#include <cstring>

namespace hrm {
namespace {

struct LeadByte {
  std::size_t length;        // of a whole sequence, 0 for bytes that start none
  unsigned char second_low;  // range of the second byte; later ones are 80..BF
  unsigned char second_high;
};

LeadByte lead_byte(unsigned char byte) {
  if (byte < 0x80) {
    return {1, 0, 0};
  }
  if (byte < 0xC2 || byte > 0xF4) {
    return {0, 0, 0};
  }
  if (byte < 0xE0) {
    return {2, 0x80, 0xBF};
  }
  if (byte < 0xF0) {
    return {3, static_cast<unsigned char>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<unsigned char>(byte == 0xED ? 0x9F : 0xBF)};
  }
  return {4, static_cast<unsigned char>(byte == 0xF0 ? 0x90 : 0x80),
          static_cast<unsigned char>(byte == 0xF4 ? 0x8F : 0xBF)};
}

struct Prefix {
  std::size_t good;    // bytes that agree with a well-formed sequence
  std::size_t wanted;  // length of that sequence, 0 if the first byte starts none
};

Prefix well_formed_prefix(std::string_view text, std::size_t at) {
  const LeadByte lead = lead_byte(static_cast<unsigned char>(text[at]));
  if (lead.length < 2) {
    return {lead.length, lead.length};
  }
  unsigned char low = lead.second_low;
  unsigned char high = lead.second_high;
  std::size_t good = 1;
  for (; good < lead.length && at + good < text.size(); ++good) {
    const auto byte = static_cast<unsigned char>(text[at + good]);
    if (byte < low || byte > high) {
      break;
    }
    low = 0x80;
    high = 0xBF;
  }
  return {good, lead.length};
}

bool eight_ascii(const char* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return (word & 0x8080808080808080u) == 0;
}

}  // namespace

std::size_t utf8_sequence_length(std::string_view text, std::size_t at) {
  const Prefix prefix = well_formed_prefix(text, at);
  return prefix.good == prefix.wanted ? prefix.wanted : 0;
}

std::optional<std::size_t> first_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && eight_ascii(text.data() + at)) {
      at += 8;
      continue;
    }
    const std::size_t length = utf8_sequence_length(text, at);
    if (length == 0) {
      return at;
    }
    at += length;
  }
  return std::nullopt;
}

CodePoint decode_code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t first = byte(0);
  if (first < 0x80) {
    return {first, 1};
  }
  if (first < 0xE0) {
    return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  }
  if (first < 0xF0) {
    return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  }
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

void append_code_point(std::string& text, char32_t value) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((value >> shift) & 0x3F)); };
  if (value < 0x80) {
    text += static_cast<char>(value);
  } else if (value < 0x800) {
    text += static_cast<char>(0xC0 | value >> 6);
    tail(0);
  } else if (value < 0x10000) {
    text += static_cast<char>(0xE0 | value >> 12);
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | value >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string_view first_code_points(std::string_view text, std::size_t count) {
  if (text.size() <= count) {
    return text;
  }
  std::size_t at = 0;
  for (std::size_t seen = 0; seen < count && at < text.size(); ++seen) {
    at += decode_code_point(text, at).length;
  }
  return text.substr(0, at);
}

std::string lossy_utf8(std::string_view bytes) {
  const std::optional<std::size_t> bad = first_invalid_utf8(bytes);
  if (!bad) {
    return std::string(bytes);
  }
  std::string out(bytes.substr(0, *bad));
  for (std::size_t at = *bad; at < bytes.size();) {
    const Prefix prefix = well_formed_prefix(bytes, at);
    if (prefix.good == prefix.wanted && prefix.wanted > 0) {
      out.append(bytes.substr(at, prefix.good));
    } else {
      append_code_point(out, 0xFFFD);
    }
    at += prefix.good > 0 ? prefix.good : 1;
  }
  return out;
}

}  // namespace hrm
