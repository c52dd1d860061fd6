#include "text/splitter.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace hrm::text {
namespace {

// PCRE2's \s counts U+180E as white space; the property White_Space, which tokenizer files mean, does not.
constexpr std::string_view white_space_members =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view other_members =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

/// The pattern with \s and \S written out as classes.
std::string spell_out_white_space(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool escape = pattern[i] == '\\' && i + 1 < pattern.size();
    if (escape && (pattern[i + 1] == 's' || pattern[i + 1] == 'S')) {
      const std::string_view members = pattern[i + 1] == 's' ? white_space_members : other_members;
      out += in_class ? std::string(members) : fmt::format("[{}]", members);
      ++i;
    } else if (escape) {
      out += pattern[i++];
      out += pattern[i];
    } else {
      in_class = pattern[i] == '[' || (in_class && pattern[i] != ']');
      out += pattern[i];
    }
  }
  return out;
}

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return std::string(buffer.begin(), std::find(buffer.begin(), buffer.end(), PCRE2_UCHAR{0}));
}

/// Match data and a JIT stack that grows up to 16 MiB, so that long runs do not exhaust the default 32 KiB. One per
/// thread: matching writes into them.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 16 * 1024 * 1024, nullptr);

  Workspace() { pcre2_jit_stack_assign(context, nullptr, stack); }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());  // NOLINT(*-reinterpret-cast): the C API
}

}  // namespace

Splitter::Splitter(std::string_view pattern, std::string_view where) : pattern_(pattern) {
  const std::string spelled = spell_out_white_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(units(spelled), spelled.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  if (code == nullptr) {
    fail(ExitCode::bad_data, "{}: the regular expression {} does not compile: {}; give one that PCRE2 understands",
         where, pattern, message_of(error));
  }
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  // A library built without just-in-time compilation answers with an error; the interpreter then gives the same.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

bool Splitter::next_match(std::string_view utf8, std::size_t from, Match& match) const {
  thread_local Workspace workspace;
  const int found = pcre2_match(static_cast<const pcre2_code*>(code_.get()), units(utf8), utf8.size(), from,
                                PCRE2_NO_UTF_CHECK, workspace.data, workspace.context);
  if (found == PCRE2_ERROR_NOMATCH) {
    return false;
  }
  if (found < 0) {
    fail(ExitCode::bad_data, "the regular expression {} gave up on a text: {}; simplify the expression", pattern_,
         message_of(found));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(workspace.data);
  match.begin = ends[0];
  match.end = ends[1];
  match.next = match.end;
  if (match.end == match.begin && match.end < utf8.size()) {
    match.next += decode_code_point(utf8, match.end).length;
  } else if (match.end == match.begin) {
    match.next = utf8.size();
  }
  return true;
}

}  // namespace hrm::text
