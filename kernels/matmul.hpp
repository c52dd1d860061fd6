#pragma once
// Matrix products of the network. y = x wᵀ with w stored [out, in] (golden A, conventions), and its two gradients.
// Products are cut into fixed tiles, one sequential library product per tile, so that the bits do not depend on the
// number of threads. Accumulation is float32 (fp32 and bf16 inputs alike). Outside the network's shapes known
// beforehand
// (`prepare`), nothing is created or allocated.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// Rows of a product are padded by callers to a multiple of this where the count varies (supervised rows, decoding).
inline constexpr std::int64_t row_bucket = 64;

/// One parameter [out, in] in compute type, cast and reordered for the matrix library once per step, for both
/// orientations. T is float or bf16.
template <class T>
class LinearWeights {
 public:
  /// On CUDA one row-major copy serves all products.
  LinearWeights(std::int64_t out, std::int64_t in, bool backward = true, Device& device = host_device());
  LinearWeights(LinearWeights&&) noexcept;
  LinearWeights& operator=(LinearWeights&&) noexcept;
  ~LinearWeights();

  /// Casts (round to nearest even for bf16) and reorders the float32 master, row-major [out, in].
  void load(Stream stream, std::span<const float> master);
  /// Reorders values that are rounded already: the same bits as from their float32 master.
  void load(Stream stream, std::span<const bf16> values) requires std::is_same_v<T, bf16>;

  std::int64_t out() const { return out_; }
  std::int64_t in() const { return in_; }
  struct Packed;
  const Packed& packed() const { return *packed_; }
  /// What products read, in the device's memory; the layout is the matrix library's.
  std::vector<std::span<const std::byte>> memory() const;
  /// (out, in) in device memory, on CUDA only.
  Matrix<const T> plain() const { return {plain_.data(), out_, in_}; }

 private:
  std::int64_t out_;
  std::int64_t in_;
  std::unique_ptr<Packed> packed_;  ///< on the host only
  Buffer<T> plain_;                 // (out, in), on CUDA only
};

/// y (M, out) = x (M, in) wᵀ, or y += x wᵀ when `accumulate` (added in float32 before rounding to T).
template <class T>
void linear_forward(Stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<T> y, bool accumulate = false);

/// As linear_forward with a float32 result: logits.
template <class T>
void linear_forward_f32(Stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<float> y);

/// dx (M, in) = dy (M, out) w, or dx += dy w.
template <class T>
void linear_backward_input(Stream, Matrix<const T> dy, const LinearWeights<T>& w, Matrix<T> dx,
                           bool accumulate = false);

/// dw (out, in) float32 += dyᵀ x, or = when not `accumulate`.
template <class T>
void linear_backward_weight(Stream, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate);

/// Makes every primitive for products of `rows` rows with a weight [out, in] so that none is made in a step. What is
/// not prepared is made when first used: other row counts, logits in wider buffers, weight gradients whose x or dw is a
/// view.
template <class T>
void prepare_linear(std::int64_t rows, std::int64_t out, std::int64_t in, bool backward = true,
                    DeviceType device = DeviceType::cpu);

/// Number of library primitives created so far; constant across steps, which tests assert.
std::int64_t primitives_created();

/// True where bf16 products run on native bf16 instructions (AVX512_BF16 or AMX): what `precision = auto` asks.
bool native_bf16();

#ifdef HRM_HAVE_CUDA
namespace cuda {

/// The products above with weights in device memory.
template <class T>
void linear_forward(Stream, Matrix<const T> x, Matrix<const T> w, Matrix<T> y, bool accumulate);
template <class T>
void linear_forward_f32(Stream, Matrix<const T> x, Matrix<const T> w, Matrix<float> y);
template <class T>
void linear_backward_input(Stream, Matrix<const T> dy, Matrix<const T> w, Matrix<T> dx, bool accumulate);
template <class T>
void linear_backward_weight(Stream, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate);
template <class T>
void prepare_linear(std::int64_t rows, std::int64_t out, std::int64_t in, bool backward);

}  // namespace cuda
#endif

/// "oneDNN 2.6.3", and the instruction set it dispatches to, e.g. "avx512_core_bf16".
std::string matmul_library();
std::string instruction_set();

}  // namespace hrm::kernels
