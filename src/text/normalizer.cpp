#include "text/normalizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/error.hpp"

namespace hrm::text {
namespace {

struct Free {
  void operator()(utf8proc_uint8_t* data) const { std::free(data); }
};

}  // namespace

bool is_plainly_nfc(std::string_view utf8) {
  // 0xCC is the lead byte of U+0300, the first combining mark.
  return std::none_of(utf8.begin(), utf8.end(), [](char byte) { return static_cast<unsigned char>(byte) >= 0xCC; });
}

std::string to_nfc(std::string_view utf8) {
  if (is_plainly_nfc(utf8)) {
    return std::string(utf8);
  }
  utf8proc_uint8_t* raw = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(utf8.data()),  // NOLINT(*-reinterpret-cast): the C API
                   static_cast<utf8proc_ssize_t>(utf8.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(raw);
  if (length < 0) {
    fail(ExitCode::bad_data, "a text cannot be normalised to NFC: {}; check that it is valid UTF-8",
         utf8proc_errmsg(length));
  }
  return std::string(raw, raw + length);
}

}  // namespace hrm::text
