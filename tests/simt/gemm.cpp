// Matrix products in place of cuBLASLt: plain loops on the host, as work on the stream.
#include "kernels/gemm_cuda.hpp"

#include <vector>

#include "base/bf16.hpp"
#include "simt/runtime.hpp"

namespace hrm::kernels::cuda {
namespace {

float load(const void* data, std::int64_t index, GemmType type) {
  return type == GemmType::bf16 ? to_float(static_cast<const bf16*>(data)[index])
                                : static_cast<const float*>(data)[index];
}

void store(void* data, std::int64_t index, GemmType type, float value) {
  if (type == GemmType::bf16) {
    static_cast<bf16*>(data)[index] = to_bf16(value);
  } else {
    static_cast<float*>(data)[index] = value;
  }
}

/// B as floats, (k, n).
std::vector<float> widened_b(const Gemm& s, const void* b) {
  std::vector<float> wide(static_cast<std::size_t>(s.k * s.n));
  for (std::int64_t k = 0; k < s.k; ++k) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      wide[static_cast<std::size_t>(k * s.n + j)] = load(b, s.b_transposed ? j * s.ldb + k : k * s.ldb + j, s.in);
    }
  }
  return wide;
}

void multiply(const Gemm& s, const void* a, const void* b, void* c) {
  const std::vector<float> wide = widened_b(s, b);
  std::vector<float> sums(static_cast<std::size_t>(s.n));
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      sums[static_cast<std::size_t>(j)] = s.accumulate ? load(c, i * s.ldc + j, s.out) : 0.0F;
    }
    for (std::int64_t k = 0; k < s.k; ++k) {
      const float factor = load(a, s.a_transposed ? k * s.lda + i : i * s.lda + k, s.in);
      const float* row = wide.data() + k * s.n;
      float* sum = sums.data();
      for (std::int64_t j = 0; j < s.n; ++j) {
        sum[j] += factor * row[j];
      }
    }
    for (std::int64_t j = 0; j < s.n; ++j) {
      store(c, i * s.ldc + j, s.out, sums[static_cast<std::size_t>(j)]);
    }
  }
}

}  // namespace

void gemm(Stream stream, const Gemm& shape, const void* a, const void* b, void* c) {
  simt::stream_of(static_cast<cudaStream_t>(stream.native)).enter([=] {
    multiply(shape, a, b, c);
    return true;
  });
}

void prepare_gemm(const Gemm&) {}

std::string gemm_choices() {
  return {};
}
void adopt_gemm_choices(const std::string&) {}

std::string gemm_library() {
  return "loops on the host";
}

void release_gemm() noexcept {}

}  // namespace hrm::kernels::cuda
