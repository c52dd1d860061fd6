#include "base/digest.hpp"

#include <fmt/core.h>

#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace hrm {
namespace {

static_assert(std::endian::native == std::endian::little, "digests are defined on little-endian words");

/// Inlined everywhere, for each caller compiles it for its own instruction set. One plain loop, which compilers turn
/// into 64-bit products of vectors.
template <class Word>
[[gnu::always_inline]] inline std::uint64_t sum_of(const void* data, std::size_t count, std::uint64_t first) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, bytes + i * sizeof(Word), sizeof(Word));
    sum += splitmix64(static_cast<std::uint64_t>(word) ^ splitmix64(first + i));
  }
  return sum;
}

#if defined(__x86_64__)
template <class Word>
[[gnu::target("avx512f,avx512dq,avx512vl")]] std::uint64_t sum_avx512(const void* data, std::size_t count,
                                                                      std::uint64_t first) {
  return sum_of<Word>(data, count, first);
}

template <class Word>
[[gnu::target("avx2")]] std::uint64_t sum_avx2(const void* data, std::size_t count, std::uint64_t first) {
  return sum_of<Word>(data, count, first);
}
#endif

// Chosen by hand: function clones need resolvers that ThreadSanitizer and some C libraries do not support.
template <class Word>
std::uint64_t sum_words(const void* data, std::size_t count, std::uint64_t first) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return sum_avx512<Word>(data, count, first);
  }
  if (__builtin_cpu_supports("avx2")) {
    return sum_avx2<Word>(data, count, first);
  }
#endif
  return sum_of<Word>(data, count, first);
}

}  // namespace

std::uint64_t digest_elements(const void* data, std::size_t count, std::size_t element_size, std::uint64_t first) {
  switch (element_size) {
    case 1:
      return sum_words<std::uint8_t>(data, count, first);
    case 2:
      return sum_words<std::uint16_t>(data, count, first);
    case 4:
      return sum_words<std::uint32_t>(data, count, first);
    case 8:
      return sum_words<std::uint64_t>(data, count, first);
    default:
      throw InternalError("digest_elements: element size must be 1, 2, 4 or 8");
  }
}

std::uint64_t digest_text(std::string_view text) {
  return sum_words<std::uint8_t>(text.data(), text.size(), 0);
}

std::uint64_t digest_file_words(const void* data, std::size_t bytes, std::uint64_t first_word) {
  const std::size_t whole = bytes / 8;
  std::uint64_t sum = sum_words<std::uint64_t>(data, whole, first_word);
  if (bytes % 8 != 0) {
    std::uint64_t last = 0;
    std::memcpy(&last, static_cast<const unsigned char*>(data) + whole * 8, bytes % 8);
    sum += splitmix64(last ^ splitmix64(first_word + whole));
  }
  return sum;
}

std::uint64_t state_digest_part(std::string_view path, std::uint64_t dataset_digest) {
  return splitmix64(splitmix64(digest_text(path)) ^ dataset_digest);
}

std::string hex(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

}  // namespace hrm
