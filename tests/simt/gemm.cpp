// The products of kernels/gemm_cuda.hpp on the CPU: in place of cuBLASLt, with its contract.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/bf16.hpp"
#include "kernels/gemm_cuda.hpp"
#include "simt/runtime.hpp"

namespace hrm::kernels::cuda {
namespace {

/// (rows, cols) in float from a row-major matrix with leading dimension ld, which may be stored as its transpose.
std::vector<float> read(const void* data, GemmType type, bool transposed, std::int64_t rows, std::int64_t cols,
                        std::int64_t ld) {
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t at = transposed ? c * ld + r : r * ld + c;
      values[static_cast<std::size_t>(r * cols + c)] =
          type == GemmType::bf16 ? to_float(static_cast<const bf16*>(data)[at]) : static_cast<const float*>(data)[at];
    }
  }
  return values;
}

/// One row of C: the sums of every column in float32, k in order.
void multiply_row(const float* a, const std::vector<float>& b, std::int64_t k, std::vector<float>& sums) {
  const std::size_t n = sums.size();
  for (std::int64_t i = 0; i < k; ++i) {
    const float* row = b.data() + static_cast<std::size_t>(i) * n;
    for (std::size_t j = 0; j < n; ++j) {
      sums[j] += a[i] * row[j];
    }
  }
}

template <class T>
void add_row(const std::vector<float>& sums, bool accumulate, T* c) {
  for (std::size_t j = 0; j < sums.size(); ++j) {
    c[j] = from_float<T>(sums[j] + (accumulate ? to_float(c[j]) : 0.0F));
  }
}

void multiply(const Gemm& s, const void* a, const void* b, void* c) {
  const std::vector<float> left = read(a, s.in, s.a_transposed, s.m, s.k, s.lda);
  const std::vector<float> right = read(b, s.in, s.b_transposed, s.k, s.n, s.ldb);
#pragma omp parallel for
  for (std::int64_t r = 0; r < s.m; ++r) {
    std::vector<float> sums(static_cast<std::size_t>(s.n));
    multiply_row(left.data() + r * s.k, right, s.k, sums);
    if (s.out == GemmType::bf16) {
      add_row(sums, s.accumulate, static_cast<bf16*>(c) + r * s.ldc);
    } else {
      add_row(sums, s.accumulate, static_cast<float*>(c) + r * s.ldc);
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

namespace {

/// There is one algorithm; a test may give it a name, to see whose choice a run goes on with.
std::string& choice() {
  static std::string name = [] {
    const char* given = std::getenv("HRM_SIMT_PRODUCTS");
    return std::string(given != nullptr ? given : "plain loops");
  }();
  return name;
}

}  // namespace

std::string gemm_choices() {
  return choice();
}

void adopt_gemm_choices(const std::string& choices) {
  choice() = choices;
}

std::string gemm_library() {
  return "products of the SIMT shim";
}

void release_gemm() noexcept {}

}  // namespace hrm::kernels::cuda
