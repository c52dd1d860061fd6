// Lines of plain and compressed files, shared out in blocks or not, and the JSON objects in them. The first byte
// chooses the kind of file.
#include <optional>

#include "comm/communicator.hpp"
#include "fuzz.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"
#include "io/jsonl_share.hpp"

namespace hrm::fuzz {
namespace {

constexpr std::size_t most_bytes = std::size_t{4} << 20;  // of a file that decompresses to a lot

std::optional<std::string> lines_of(const std::filesystem::path& path) {
  std::string text;
  const bool whole = accepted([&] {
    io::LineReader reader(path);
    while (const auto line = reader.next()) {
      require(line->find('\n') == line->size() - 1 || line->find('\n') == std::string_view::npos, "a line is one line");
      text += *line;
      if (text.size() > most_bytes) {
        fail(ExitCode::bad_data, "too long to go on");
      }
      accepted([&] {
        const nlohmann::json object = io::parse_jsonl_object(*line, reader.place());
        io::required_string(object, "instruction", reader.place());
        io::optional_string(object, "source", reader.place());
      });
    }
  });
  return whole ? std::optional(text) : std::nullopt;
}

void shared_lines_are_the_same(const std::filesystem::path& path, std::size_t block, const std::string& expected) {
  const auto alone = comm::serial_communicator();
  std::string text;
  const auto share = io::share_lines(*alone, path, block);
  for (io::LineBlock lines; share->next(lines);) {
    const auto before = std::count(text.begin(), text.end(), '\n') + (text.empty() || text.ends_with('\n') ? 0 : 1);
    require(lines.text.empty() || lines.first_line == before + 1, "a block knows the number of its first line");
    text += lines.text;
  }
  require(text == expected, "blocks together are the file");
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm::fuzz;
  if (size < 2) {
    return 0;
  }
  const char* kinds[] = {"lines.jsonl", "lines.jsonl.gz", "lines.jsonl.zst"};
  const std::filesystem::path path = scratch() / kinds[data[0] % 3];
  write_file(path, text_of(data + 2, size - 2));
  if (const auto text = lines_of(path)) {
    shared_lines_are_the_same(path, 1 + data[1], *text);
  }
  return 0;
}
