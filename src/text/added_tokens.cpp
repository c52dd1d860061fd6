#include "text/added_tokens.hpp"

#include <algorithm>
#include <utility>

#include "base/utf8.hpp"

namespace hrm::text {
namespace {

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool continues_sequence(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

/// Start of the white space that ends at `end`, not before `floor`.
std::size_t white_space_before(std::string_view text, std::size_t end, std::size_t floor) {
  while (end > floor) {
    std::size_t start = end - 1;
    while (start > floor && continues_sequence(text[start])) {
      --start;
    }
    if (continues_sequence(text[start]) || !is_white_space(decode_code_point(text, start).value)) {
      break;
    }
    end = start;
  }
  return end;
}

std::size_t white_space_behind(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    const CodePoint point = decode_code_point(text, begin);
    if (!is_white_space(point.value)) {
      break;
    }
    begin += point.length;
  }
  return begin;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), by_first_byte_(256) {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    by_first_byte_[static_cast<unsigned char>(tokens_[i].content.front())].push_back(i);
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, std::size_t at) const {
  for (const std::size_t i : by_first_byte_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at).starts_with(tokens_[i].content)) {
      return &tokens_[i];
    }
  }
  return nullptr;
}

std::optional<AddedTokenFinder::Found> AddedTokenFinder::find(std::string_view text, std::size_t from,
                                                              bool skip_special) const {
  for (std::size_t at = from; !tokens_.empty() && at < text.size(); ++at) {
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) {
      continue;
    }
    const std::size_t end = at + token->content.size();
    if (skip_special && token->special) {
      at = end - 1;
      continue;
    }
    return Found{token->id, token->lstrip ? white_space_before(text, at, from) : at,
                 token->rstrip ? white_space_behind(text, end) : end};
  }
  return std::nullopt;
}

}  // namespace hrm::text
