// Run under mpirun with any number of ranks: the blocks that ranks get of a file are the file, line numbers included.
// Exit 0 if they are; each failing case is one line on standard error.
#include <fmt/core.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>

#include "comm/mpi_session.hpp"
#include "io/jsonl_share.hpp"

namespace {

using namespace hrm;

/// `count` lines of up to `longest` bytes; `ended` tells whether the last one has an end.
std::string sample_text(int count, int longest, bool ended) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const int length = i * 37 % (longest + 1);
    text += fmt::format("{}{}\n", i, std::string(static_cast<std::size_t>(length), 'x'));
  }
  if (!ended && !text.empty()) {
    text.pop_back();
  }
  return text;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

/// The file as its blocks give it; "wrong line number" where a block's number is not that of its first line.
std::string joined(comm::Communicator& group, const std::filesystem::path& path, std::size_t block_bytes) {
  const auto share = io::share_lines(group, path, block_bytes);
  std::string text;
  std::int64_t line = 1;
  bool numbers_right = true;
  for (io::LineBlock mine; share->next(mine);) {
    const auto texts = group.gather(mine.text);
    const auto numbers = group.gather(std::to_string(mine.first_line));
    for (std::size_t rank = 0; rank < texts.size(); ++rank) {
      numbers_right = numbers_right && (texts[rank].empty() || std::stoll(numbers[rank]) == line);
      line += std::count(texts[rank].begin(), texts[rank].end(), '\n');
      text += texts[rank];
    }
  }
  return numbers_right ? text : "wrong line number";
}

int check(comm::Communicator& group, const std::filesystem::path& folder) {
  int failures = 0;
  for (const auto& [count, longest, ended] :
       {std::tuple{0, 0, true}, {1, 5, false}, {3, 900, true}, {700, 40, true}, {700, 40, false}, {5, 0, true}}) {
    const std::string text = sample_text(count, longest, ended);
    if (group.rank() == 0) {
      write(folder / "plain.jsonl", text);
      write(folder / "packed.jsonl.zst", compressed(text));
    }
    group.barrier();
    for (const std::size_t bytes : {1u, 7u, 64u, 1000u, 1u << 20}) {
      for (const char* name : {"plain.jsonl", "packed.jsonl.zst"}) {
        if (joined(group, folder / name, bytes) != text) {
          fmt::print(stderr, "FAILED: {} with {} lines of up to {} in blocks of {}\n", name, count, longest, bytes);
          ++failures;
        }
      }
    }
    group.barrier();
  }
  return failures;
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  const std::string tag = comm::broadcast_text(world, std::to_string(getpid()));
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("hrm_lines_" + tag);
  std::filesystem::create_directories(folder);
  const int failures = check(world, folder);
  world.barrier();
  if (world.rank() == 0) {
    std::filesystem::remove_all(folder);
  }
  return failures == 0 ? 0 : 1;
}
