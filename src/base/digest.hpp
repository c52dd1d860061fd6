#pragma once
// `sum-splitmix64`: digest = sum_i s(w_i xor s(i)) mod 2^64. A sum, so writers of disjoint parts add up in any order.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hrm {

/// splitmix64 of x (one step with the golden-ratio increment).
constexpr std::uint64_t splitmix64(std::uint64_t x) {
  std::uint64_t z = x + 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

/// Part of a dataset's digest: elements of `element_size` bytes (1, 2, 4, 8; little-endian, zero-extended to 64 bits)
/// whose first has row-major index `first`. Other element sizes (compounds) count as bytes: pass element_size 1.
std::uint64_t digest_elements(const void* data, std::size_t count, std::size_t element_size, std::uint64_t first);

template <class T>
std::uint64_t digest(std::span<const T> values, std::uint64_t first = 0) {
  return digest_elements(values.data(), values.size(), sizeof(T), first);
}

/// Digest of a string's bytes (used for dataset paths and texts).
std::uint64_t digest_text(std::string_view text);

/// Digest of a file region as little-endian 8-byte words, the last padded with zeros; `first_word` is the index of the
/// first word. `bytes` of all parts but the last are multiples of 8.
std::uint64_t digest_file_words(const void* data, std::size_t bytes, std::uint64_t first_word);

/// What one dataset adds to `state_digest`: s(s(digest_text(path)) xor digest).
std::uint64_t state_digest_part(std::string_view path, std::uint64_t dataset_digest);

/// 16 hexadecimal digits, for JSON and messages.
std::string hex(std::uint64_t value);

}  // namespace hrm
