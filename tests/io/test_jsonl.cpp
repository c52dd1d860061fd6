#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"
#include "io/jsonl_share.hpp"

namespace hrm::io {
namespace {

class Jsonl : public testing::Test {
 protected:
  Jsonl() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / ("hrm_jsonl_" + std::string(test->name()));
    std::filesystem::create_directories(folder_);
  }
  ~Jsonl() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }

  std::filesystem::path folder_;
};

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::filesystem::path write_gzip(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return path;
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  while (const auto line = reader.next()) {
    lines.emplace_back(*line);
    EXPECT_EQ(reader.number(), std::ssize(lines));
  }
  return lines;
}

/// Lines of growing length, some of them empty; more than one read of the file.
std::string long_text() {
  std::string text;
  for (int i = 0; i < 2500; ++i) {
    text += std::string(static_cast<std::size_t>(i % 1300), static_cast<char>('a' + i % 26)) + "\n";
  }
  return text + "the last has no end";
}

template <class Work>
ExitCode code_of(Work&& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.code();
  }
  return ExitCode::ok;
}

TEST_F(Jsonl, LinesKeepTheirEnds) {
  EXPECT_EQ(lines_of(write("a.txt", "one\n\ntwo\r\nthree")),
            (std::vector<std::string>{"one\n", "\n", "two\r\n", "three"}));
  EXPECT_EQ(without_line_end("two\r\n"), "two");
}

TEST_F(Jsonl, AnEmptyFileHasNoLine) {
  EXPECT_TRUE(lines_of(write("a.txt", "")).empty());
}

TEST_F(Jsonl, CompressedFilesReadLikePlainOnes) {
  const std::string text = long_text();
  const auto plain = lines_of(write("a.txt", text));

  EXPECT_EQ(plain.size(), 2501u);
  EXPECT_EQ(lines_of(write_gzip(folder_ / "a.gz", text)), plain);
  EXPECT_EQ(lines_of(write("a.zst", zstd(text))), plain);
  EXPECT_EQ(read_decompressed(folder_ / "a.zst"), text);
}

TEST_F(Jsonl, CompressedFilesMayBeSeveralInARow) {
  EXPECT_EQ(lines_of(write("a.zst", zstd("one\nt") + zstd("wo\n"))), (std::vector<std::string>{"one\n", "two\n"}));
  const std::string once = read_decompressed(write("raw", [&] {
    std::ifstream file(write_gzip(folder_ / "b", "one\n"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }()));
  EXPECT_EQ(lines_of(write("b.gz", once + once)), (std::vector<std::string>{"one\n", "one\n"}));
}

TEST_F(Jsonl, DamagedCompressionIsBadData) {
  const std::string packed = zstd(long_text());
  const auto cut = write("a.zst", packed.substr(0, packed.size() / 2));
  const auto gzip = write_gzip(folder_ / "a.gz", long_text());
  std::filesystem::resize_file(gzip, std::filesystem::file_size(gzip) - 3);
  const auto foreign = write("b.gz", "plain text\n");

  EXPECT_EQ(code_of([&] { lines_of(cut); }), ExitCode::bad_data);
  EXPECT_EQ(code_of([&] { lines_of(gzip); }), ExitCode::bad_data);
  EXPECT_EQ(code_of([&] { lines_of(foreign); }), ExitCode::bad_data);
}

TEST_F(Jsonl, MissingFilesAndFoldersAreNoInput) {
  const auto serial = comm::serial_communicator();

  EXPECT_EQ(code_of([&] { LineReader(folder_ / "none"); }), ExitCode::no_input);
  EXPECT_EQ(code_of([&] { LineReader{folder_}; }), ExitCode::no_input);
  EXPECT_EQ(code_of([&] { share_lines(*serial, folder_ / "none"); }), ExitCode::no_input);
  EXPECT_EQ(code_of([&] { share_lines(*serial, folder_); }), ExitCode::no_input);
}

TEST_F(Jsonl, FieldsAreChecked) {
  const auto message = [](const std::string& line) -> std::string {
    try {
      return required_string(parse_jsonl_object(line, "f:3"), "text", "f:3");
    } catch (const InputError& error) {
      return error.what();
    }
  };

  EXPECT_EQ(message(R"({"text": "\u00e9"})"), "\u00e9");
  EXPECT_TRUE(message(R"({"text": "a)").starts_with("f:3: malformed JSON"));
  EXPECT_TRUE(message(R"({"text": "\ud800"})").starts_with("f:3: malformed JSON"));
  EXPECT_TRUE(message("[1]").starts_with("f:3: the line holds no JSON object but array"));
  EXPECT_TRUE(message("{\"text\": \"\xFF\"}").starts_with("f:3: invalid UTF-8 at byte 11"));
  EXPECT_TRUE(message("{}").starts_with("f:3: the field \"text\" is missing"));
  EXPECT_TRUE(message(R"({"text": 1})").starts_with("f:3: the field \"text\" is not a string but number"));
}

TEST_F(Jsonl, BlocksOfAnySizeAreTheFile) {
  const std::string text = long_text();
  const auto path = write("a.txt", text);
  const auto serial = comm::serial_communicator();
  for (const std::size_t bytes : {1u, 100u, 4096u, 1u << 24}) {
    const auto share = share_lines(*serial, path, bytes);
    std::string together;
    std::int64_t line = 1;
    for (LineBlock block; share->next(block);) {
      if (!block.text.empty()) {
        EXPECT_EQ(block.first_line, line);
      }
      together += block.text;
      line += std::count(block.text.begin(), block.text.end(), '\n');
    }
    EXPECT_EQ(together, text) << bytes;
  }
}

}  // namespace
}  // namespace hrm::io
