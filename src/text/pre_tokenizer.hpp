#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/splitter.hpp"
#include "text/tokenizer_file.hpp"

namespace hrm::text {

/// Normalised text → the byte strings that are merged each by itself. Safe to use from several threads.
class PreTokenizer {
 public:
  PreTokenizer(const TokenizerFile& file, const std::string& name) : add_prefix_space_(file.add_prefix_space) {
    for (const std::string& pattern : file.split_patterns) {
      splitters_.emplace_back(pattern, name + ": pre_tokenizer");
    }
    if (file.use_regex) {
      byte_level_.emplace(gpt2_pattern, name + ": pre_tokenizer");
    }
  }

  /// Calls `use(std::string_view)` for each piece in order; the view is valid during the call.
  template <class Use>
  void pieces(std::string_view utf8, Use&& use) const {
    split(utf8, 0, use);
  }

 private:
  template <class Use>
  void split(std::string_view utf8, std::size_t level, Use& use) const {
    if (level == splitters_.size()) {
      byte_level(utf8, use);
    } else {
      splitters_[level].split(utf8, [&](std::string_view piece) { split(piece, level + 1, use); });
    }
  }

  template <class Use>
  void byte_level(std::string_view piece, Use& use) const {
    std::string prefixed;
    if (add_prefix_space_ && !piece.starts_with(' ')) {
      prefixed = ' ';
      prefixed.append(piece);
      piece = prefixed;
    }
    if (byte_level_) {
      byte_level_->split(piece, use);
    } else {
      use(piece);
    }
  }

  std::vector<Splitter> splitters_;
  bool add_prefix_space_;
  std::optional<Splitter> byte_level_;
};

}  // namespace hrm::text
