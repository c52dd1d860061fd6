#pragma once
// Matrix products on CUDA: cuBLASLt on a GPU (gemm_cuda.cpp), plain loops under the SIMT shim (tests/simt).
#include <compare>
#include <cstdint>
#include <string>

#include "base/device.hpp"

namespace hrm::kernels::cuda {

enum class GemmType : std::int32_t { f32, bf16 };

/// C (m, n) = A (m, k) B (k, n), or C += A B before rounding when `accumulate`. All are row-major with leading
/// dimensions in elements; sums are float32, without TF32.
struct Gemm {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t lda = 0;
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;
  GemmType in = GemmType::f32;
  GemmType out = GemmType::f32;
  bool a_transposed = false;  ///< A is stored as (k, m)
  bool b_transposed = false;  ///< B is stored as (n, k)
  bool accumulate = false;
  auto operator<=>(const Gemm&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads it
};

/// Puts the product on the stream. The algorithm of a shape is chosen when the shape is first seen, among those whose
/// result does not depend on scheduling, and kept.
void gemm(Stream stream, const Gemm& shape, const void* a, const void* b, void* c);
/// Chooses the algorithm of a shape beforehand.
void prepare_gemm(const Gemm& shape);

/// The algorithms of all shapes seen so far as text, and their adoption: one rank chooses for all, so that the same
/// product has the same bits everywhere.
std::string gemm_choices();
void adopt_gemm_choices(const std::string& choices);

/// Library and version, "cuBLASLt 13.0.2".
std::string gemm_library();

/// Frees handle and workspace; the next product makes them again. Called by the device's destructor.
void release_gemm() noexcept;

}  // namespace hrm::kernels::cuda
