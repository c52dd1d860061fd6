#pragma once
// The digest of base/digest.hpp over memory of a device.
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"

namespace hrm::kernels {

/// Words of scratch that digest_values takes.
inline constexpr std::size_t digest_scratch = 1024;

/// *sum = digest of `values`, the first of which has row-major index `first`: hrm::digest_elements with elements of
/// sizeof(T) bytes. T: float, bf16, or std::uint64_t for the words of digest_file_words.
template <class T>
void digest_values(Stream, std::span<const T> values, std::uint64_t first, std::span<std::uint64_t> scratch,
                   std::uint64_t* sum);

/// In device memory, *sum too.
namespace cuda {
template <class T>
void digest_values(Stream, std::span<const T> values, std::uint64_t first, std::span<std::uint64_t> scratch,
                   std::uint64_t* sum);
}  // namespace cuda

}  // namespace hrm::kernels
