#pragma once
// Text ↔ token ids by byte-level BPE, with the ids of Hugging Face's library for the same tokenizer.json.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/added_tokens.hpp"
#include "text/bpe_model.hpp"
#include "text/pre_tokenizer.hpp"
#include "text/tokenizer_file.hpp"

namespace hrm::text {

/// What a special token's name inside a text means: the token, or just text. (Text given by users is always plain.)
enum class SpecialTokens { recognise, plain };

/// Immutable after construction; every const member may be called from several threads at once.
class Tokenizer {
 public:
  /// Errors: InputError no_input (66) where the file is missing, bad_data (65) naming file and field where it is
  /// damaged or asks for something that is not supported.
  static Tokenizer read(const std::filesystem::path& path);
  /// From the text of a tokenizer.json (a checkpoint holds one); `name` stands in front of messages.
  static Tokenizer parse(std::string json, std::string name);

  /// Tokens of well-formed UTF-8; none are added. InputError(bad_data) with the offset of a byte that is not UTF-8.
  std::vector<std::uint32_t> encode(std::string_view utf8, SpecialTokens specials) const;
  /// The same, appended to `ids`.
  void encode(std::string_view utf8, SpecialTokens specials, std::vector<std::uint32_t>& ids) const;

  /// Text of tokens; bytes that do not form UTF-8 become U+FFFD. Ids that the vocabulary lacks are left out.
  std::string decode(std::span<const std::uint32_t> ids, bool skip_special) const;
  /// Bytes that one token stands for (streams of tokens are cut inside characters); empty for an unknown id.
  std::string_view bytes_of(std::uint32_t id) const;

  /// Highest id + 1.
  std::int64_t vocab_size() const { return static_cast<std::int64_t>(bytes_.size()); }
  bool has(std::uint32_t id) const { return id < known_.size() && known_[id]; }
  /// Id of a token as it is spelled in the file.
  std::optional<std::uint32_t> id_of(std::string_view token) const;

  /// Digest and text of the file: what shards and checkpoints are compared by, and what they carry.
  std::uint64_t digest() const { return digest_; }
  const std::string& json() const { return json_; }
  const std::string& name() const { return name_; }

 private:
  Tokenizer(const TokenizerFile& file, std::string json, std::string name);
  void add_token(const std::string& token, std::uint32_t id, const char* field);
  void add_added_tokens(std::vector<AddedToken> tokens);
  std::vector<MergeRule> merge_rules(const TokenizerFile& file) const;
  std::array<std::int64_t, 256> byte_ids() const;
  void encode_unmarked(std::string_view utf8, bool skip_special, std::vector<std::uint32_t>& ids) const;
  void encode_normalised(std::string_view utf8, std::vector<std::uint32_t>& ids) const;
  void encode_piece(std::string_view piece, std::vector<std::uint32_t>& ids) const;

  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::string name_;
  std::string json_;
  std::uint64_t digest_;
  std::uint64_t serial_;  // tells the caches of different tokenizers apart
  Normalization normalization_;
  bool ignore_merges_;
  PreTokenizer pre_tokenizer_;
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> ids_;
  std::vector<std::string> bytes_;      // [vocab_size]
  std::vector<bool> known_;             // [vocab_size]
  std::vector<bool> special_;           // [vocab_size]
  AddedTokenFinder raw_finder_;         // in the text as written
  AddedTokenFinder normalised_finder_;  // in the normalised text
  std::optional<BpeModel> model_;
};

}  // namespace hrm::text
