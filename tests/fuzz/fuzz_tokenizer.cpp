// tokenizer.json: the input up to its last zero byte is the file, what stands behind it a text to encode.
#include "fuzz.hpp"
#include "text/tokenizer.hpp"

namespace hrm::fuzz {
namespace {

void written_file_reads_back(std::string_view json) {
  const text::TokenizerFile file = text::parse_tokenizer_file(json, "fuzz");
  const std::string written = text::tokenizer_json(file);
  require(text::tokenizer_json(text::parse_tokenizer_file(written, "again")) == written,
          "a tokenizer reads back as itself");
}

void ids_are_in_the_vocabulary(std::string_view json, std::string_view words) {
  const text::Tokenizer tokenizer = text::Tokenizer::parse(std::string(json), "fuzz");
  for (const auto specials : {text::SpecialTokens::plain, text::SpecialTokens::recognise}) {
    const std::vector<std::uint32_t> ids = tokenizer.encode(words, specials);
    for (const std::uint32_t id : ids) {
      require(tokenizer.has(id), "encode gives ids of the vocabulary");
    }
    tokenizer.decode(ids, true);
    tokenizer.decode(ids, false);
  }
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm::fuzz;
  const std::string_view input = text_of(data, size);
  const std::size_t end = input.rfind('\0');
  const std::string_view json = input.substr(0, end);
  const std::string_view words = end == std::string_view::npos ? "Hello, 12 worlds" : input.substr(end + 1);
  accepted([&] { written_file_reads_back(json); });
  accepted([&] { ids_are_in_the_vocabulary(json, words); });
  return 0;
}
