#pragma once
#include <filesystem>
#include <vector>

#include "text/bpe_trainer.hpp"

namespace hrm::text {

struct TrainingInput {
  std::vector<std::filesystem::path> files;
  bool text_lines = false;  // each line, its line end included, is a document; else lines are JSONL samples
};

/// The first characters of a sample's instruction and of its response that are documents.
inline constexpr std::size_t document_characters = 10000;

/// Learns a tokenizer from files. Errors: 65 naming FILE:LINE, 66 missing file; see train_bpe.
TokenizerFile train_tokenizer(const TrainingInput& input, const BpeOptions& options);

}  // namespace hrm::text
