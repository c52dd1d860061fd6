#include "text/tokenizer.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/utf8.hpp"
#include "io/disk.hpp"
#include "text/byte_level.hpp"
#include "text/word_cache.hpp"

namespace hrm::text {
namespace {

/// Limits on ids, so that a damaged file cannot ask for a table of gigabytes: a fixed one, and that of a file in which
/// each id has its token, of several bytes.
constexpr std::size_t most_ids = std::size_t{1} << 24;

std::uint64_t next_serial() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

/// Calls `token(id)` for added tokens in `text` and `between(part)` for what lies between them.
template <class Token, class Between>
void cut_at_added_tokens(const AddedTokenFinder& finder, std::string_view text, bool skip_special, Token&& token,
                         Between&& between) {
  std::size_t done = 0;
  while (const auto found = finder.find(text, done, skip_special)) {
    between(text.substr(done, found->begin - done));
    token(found->id);
    done = found->end;
  }
  between(text.substr(done));
}

}  // namespace

Tokenizer Tokenizer::read(const std::filesystem::path& path) {
  return parse(io::read_text(path), path.string());
}

Tokenizer Tokenizer::parse(std::string json, std::string name) {
  const TokenizerFile file = parse_tokenizer_file(json, name);
  return Tokenizer(file, std::move(json), std::move(name));
}

Tokenizer::Tokenizer(const TokenizerFile& file, std::string json, std::string name)
    : name_(std::move(name)),
      json_(std::move(json)),
      digest_(digest_text(json_)),
      serial_(next_serial()),
      normalization_(file.normalization),
      ignore_merges_(file.ignore_merges),
      pre_tokenizer_(file, name_) {
  for (const auto& [token, id] : file.vocab) {
    add_token(token, id, "model.vocab");
  }
  model_.emplace(byte_ids(), merge_rules(file));
  add_added_tokens(file.added_tokens);
}

void Tokenizer::add_token(const std::string& token, std::uint32_t id, const char* field) {
  const std::size_t limit = std::min(most_ids, json_.size());
  if (id >= limit) {
    fail(ExitCode::bad_data, "{}: {}: the id {} of {} is out of range; ids must be below {}", name_, field, id, token,
         limit);
  }
  if (has(id)) {
    fail(ExitCode::bad_data, "{}: {}: the id {} of {} is taken already; give each token its own id", name_, field, id,
         token);
  }
  if (id >= bytes_.size()) {
    bytes_.resize(id + 1);
    known_.resize(id + 1);
    special_.resize(id + 1);
  }
  known_[id] = true;
  bytes_[id] = token_bytes(token);
  ids_.emplace(token, id);
}

void Tokenizer::add_added_tokens(std::vector<AddedToken> tokens) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalised;
  for (AddedToken& token : tokens) {
    const std::optional<std::uint32_t> existing = id_of(token.content);
    if (existing && *existing != token.id) {
      fail(ExitCode::bad_data, "{}: added_tokens: {} has the id {}, but {} in model.vocab; make them equal", name_,
           token.content, token.id, *existing);
    }
    if (!existing) {
      add_token(token.content, token.id, "added_tokens");
    }
    special_[token.id] = token.special;
    if (token.normalized && normalization_ == Normalization::nfc) {
      token.content = to_nfc(token.content);
    }
    (token.normalized ? normalised : raw).push_back(std::move(token));
  }
  raw_finder_ = AddedTokenFinder(std::move(raw));
  normalised_finder_ = AddedTokenFinder(std::move(normalised));
}

std::vector<MergeRule> Tokenizer::merge_rules(const TokenizerFile& file) const {
  std::vector<MergeRule> rules;
  rules.reserve(file.merges.size());
  const auto need = [&](const std::string& token) {
    const std::optional<std::uint32_t> id = id_of(token);
    if (!id) {
      fail(ExitCode::bad_data,
           "{}: model.merges[{}]: {} is not in model.vocab; give the vocab and merges of one training", name_,
           rules.size(), token);
    }
    return *id;
  };
  for (const auto& [left, right] : file.merges) {
    rules.push_back({need(left), need(right), need(left + right)});
  }
  return rules;
}

std::array<std::int64_t, 256> Tokenizer::byte_ids() const {
  std::array<std::int64_t, 256> ids;
  for (std::size_t byte = 0; byte < ids.size(); ++byte) {
    std::string character;
    append_code_point(character, byte_characters()[byte]);
    const std::optional<std::uint32_t> id = id_of(character);
    ids[byte] = id ? static_cast<std::int64_t>(*id) : -1;
  }
  return ids;
}

std::optional<std::uint32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::uint32_t> Tokenizer::encode(std::string_view utf8, SpecialTokens specials) const {
  std::vector<std::uint32_t> ids;
  encode(utf8, specials, ids);
  return ids;
}

void Tokenizer::encode(std::string_view utf8, SpecialTokens specials, std::vector<std::uint32_t>& ids) const {
  if (const auto bad = first_invalid_utf8(utf8)) {
    fail(ExitCode::bad_data, "a text is not valid UTF-8 at byte {}; convert it to UTF-8", *bad);
  }
  const bool skip_special = specials == SpecialTokens::plain;
  cut_at_added_tokens(
      raw_finder_, utf8, skip_special, [&](std::uint32_t id) { ids.push_back(id); },
      [&](std::string_view part) { encode_unmarked(part, skip_special, ids); });
}

void Tokenizer::encode_unmarked(std::string_view utf8, bool skip_special, std::vector<std::uint32_t>& ids) const {
  std::string owned;
  if (normalization_ == Normalization::nfc && !is_plainly_nfc(utf8)) {
    owned = to_nfc(utf8);
    utf8 = owned;
  }
  cut_at_added_tokens(
      normalised_finder_, utf8, skip_special, [&](std::uint32_t id) { ids.push_back(id); },
      [&](std::string_view part) { encode_normalised(part, ids); });
}

void Tokenizer::encode_normalised(std::string_view utf8, std::vector<std::uint32_t>& ids) const {
  if (utf8.empty()) {
    return;
  }
  thread_local WordCache cache;
  cache.belong_to(serial_);
  pre_tokenizer_.pieces(utf8, [&](std::string_view piece) {
    if (piece.size() > WordCache::max_bytes) {
      encode_piece(piece, ids);
      return;
    }
    WordCache::Slot& slot = cache.slot(piece);
    if (slot.holds(piece)) {
      ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
      return;
    }
    const std::size_t before = ids.size();
    encode_piece(piece, ids);
    if (const std::size_t count = ids.size() - before; count <= WordCache::max_ids) {
      WordCache::fill(slot, piece, ids.data() + before, count);
    }
  });
}

void Tokenizer::encode_piece(std::string_view piece, std::vector<std::uint32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = id_of(to_byte_characters(piece))) {
      ids.push_back(*whole);
      return;
    }
  }
  model_->encode(piece, ids);
}

std::string_view Tokenizer::bytes_of(std::uint32_t id) const {
  return has(id) ? std::string_view(bytes_[id]) : std::string_view();
}

std::string Tokenizer::decode(std::span<const std::uint32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::uint32_t id : ids) {
    if (has(id) && !(skip_special && special_[id])) {
      bytes += bytes_[id];
    }
  }
  return lossy_utf8(bytes);
}

}  // namespace hrm::text
