#include "text/train_tokenizer.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"

namespace hrm::text {
namespace {

/// Collects documents and counts them in batches, so that memory does not grow with the files.
class Documents {
 public:
  explicit Documents(WordCounter& counter) : counter_(counter) {}

  void add(std::string document) {
    bytes_ += document.size();
    batch_.push_back(std::move(document));
    if (bytes_ >= batch_bytes) {
      flush();
    }
  }
  void flush() {
    counter_.add(batch_);
    batch_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::size_t batch_bytes = std::size_t{16} << 20;
  WordCounter& counter_;
  std::vector<std::string> batch_;
  std::size_t bytes_ = 0;
};

void add_text_line(std::string_view line, const std::string& place, Documents& documents) {
  if (const auto bad = first_invalid_utf8(line)) {
    fail(ExitCode::bad_data, "{}: invalid UTF-8 at byte {} of the line; convert the file to UTF-8", place, *bad + 1);
  }
  documents.add(std::string(line));
}

void add_sample(std::string_view line, const std::string& place, Documents& documents) {
  if (io::is_blank(line)) {
    return;
  }
  const nlohmann::json object = io::parse_jsonl_object(line, place);
  for (const char* field : {"instruction", "response"}) {
    documents.add(std::string(first_code_points(io::required_string(object, field, place), document_characters)));
  }
}

}  // namespace

TokenizerFile train_tokenizer(const TrainingInput& input, const BpeOptions& options) {
  WordCounter counter(hrm_layout());
  Documents documents(counter);
  for (const std::filesystem::path& file : input.files) {
    io::LineReader reader(file);
    while (const std::optional<std::string_view> line = reader.next()) {
      if (input.text_lines) {
        add_text_line(*line, reader.place(), documents);
      } else {
        add_sample(*line, reader.place(), documents);
      }
    }
  }
  documents.flush();
  return train_bpe(options, counter.finish());
}

}  // namespace hrm::text
