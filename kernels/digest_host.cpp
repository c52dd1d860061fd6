#include "base/digest.hpp"

#include "kernels/cuda_dispatch.hpp"
#include "kernels/digest.hpp"

namespace hrm::kernels {

template <class T>
void digest_values(Stream stream, std::span<const T> values, std::uint64_t first,
                   [[maybe_unused]] std::span<std::uint64_t> scratch, std::uint64_t* sum) {
  HRM_CUDA_DISPATCH(stream, digest_values<T>(stream, values, first, scratch, sum));
  *sum = digest(values, first);
}

template void digest_values(Stream, std::span<const float>, std::uint64_t, std::span<std::uint64_t>, std::uint64_t*);
template void digest_values(Stream, std::span<const bf16>, std::uint64_t, std::span<std::uint64_t>, std::uint64_t*);
template void digest_values(Stream, std::span<const std::uint64_t>, std::uint64_t, std::span<std::uint64_t>,
                            std::uint64_t*);

}  // namespace hrm::kernels
