#pragma once
// One line of a corpus → the tokens of one sample (facts: HRM-Text's data_io):
//   instruction part = begin, condition tags in listed order, instruction text, end of instruction   (P tokens)
//   response part    = response text, end of answer                                                  (R tokens)
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "text/special_tokens.hpp"
#include "text/tokenizer.hpp"

namespace hrm::text {

/// What happens to a sample with P + R - 1 > context.
enum class Overlong {
  truncate,  // the response is cut to fit (its end tag goes first); without room for one token the sample is dropped
  drop,
  error,
};

/// Tags of a comma-separated list of conditions; InputError(code) beginning with `place` for an unknown one.
std::vector<std::uint32_t> condition_tags(std::string_view conditions, const SpecialRoles& roles,
                                          const std::string& place, ExitCode code = ExitCode::bad_data);

/// begin, tags, instruction (encoded plain), end of instruction: what a model is given, appended to `tokens`.
void append_instruction(const Tokenizer& tokenizer, const SpecialRoles& roles, const std::vector<std::uint32_t>& tags,
                        std::string_view instruction, std::vector<std::uint32_t>& tokens);

class SampleMaker {
 public:
  SampleMaker(const Tokenizer& tokenizer, std::int64_t context, Overlong overlong);

  struct Made {
    std::uint32_t instruction_length = 0;  // P
    std::uint32_t response_length = 0;     // R; 0: the sample is dropped, nothing was appended
    bool truncated = false;
    std::optional<std::string> source;  // nothing where the line has none, or an empty one
  };
  /// Appends the tokens of the sample in `line` (JSON; cli: `hrm prepare`). Errors: InputError(bad_data) beginning with
  /// `place`. Safe to call from several threads.
  Made make(std::string_view line, const std::string& place, std::vector<std::uint32_t>& tokens) const;

 private:
  void fit(Made& made, const std::string& place, std::vector<std::uint32_t>& tokens) const;

  const Tokenizer& tokenizer_;
  SpecialRoles roles_;
  std::int64_t context_;
  Overlong overlong_;
};

}  // namespace hrm::text
