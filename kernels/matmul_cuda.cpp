#include "kernels/matmul.hpp"

#ifdef HRM_HAVE_CUDA
#include "kernels/gemm_cuda.hpp"

namespace hrm::kernels::cuda {
namespace {

template <class T>
constexpr GemmType type_of = std::is_same_v<T, bf16> ? GemmType::bf16 : GemmType::f32;

/// y (rows, out) (+)= x (rows, in) wᵀ.
template <class T, class C>
Gemm forward(std::int64_t rows, std::int64_t ldx, Matrix<const T> w, std::int64_t ldy, bool accumulate) {
  return {.m = rows,
          .n = w.rows,
          .k = w.cols,
          .lda = ldx,
          .ldb = w.stride,
          .ldc = ldy,
          .in = type_of<T>,
          .out = type_of<C>,
          .b_transposed = true,
          .accumulate = accumulate};
}

/// dx (rows, in) (+)= dy (rows, out) w.
template <class T>
Gemm input_gradient(std::int64_t rows, std::int64_t lddy, Matrix<const T> w, std::int64_t lddx, bool accumulate) {
  return {.m = rows,
          .n = w.cols,
          .k = w.rows,
          .lda = lddy,
          .ldb = w.stride,
          .ldc = lddx,
          .in = type_of<T>,
          .out = type_of<T>,
          .accumulate = accumulate};
}

/// dw (out, in) (+)= dyᵀ x.
template <class T>
Gemm weight_gradient(std::int64_t rows, std::int64_t lddy, std::int64_t ldx, Matrix<const float> dw, bool accumulate) {
  return {.m = dw.rows,
          .n = dw.cols,
          .k = rows,
          .lda = lddy,
          .ldb = ldx,
          .ldc = dw.stride,
          .in = type_of<T>,
          .out = GemmType::f32,
          .a_transposed = true,
          .accumulate = accumulate};
}

}  // namespace

template <class T>
void linear_forward(Stream stream, Matrix<const T> x, Matrix<const T> w, Matrix<T> y, bool accumulate) {
  gemm(stream, forward<T, T>(x.rows, x.stride, w, y.stride, accumulate), x.data, w.data, y.data);
}

template <class T>
void linear_forward_f32(Stream stream, Matrix<const T> x, Matrix<const T> w, Matrix<float> y) {
  gemm(stream, forward<T, float>(x.rows, x.stride, w, y.stride, false), x.data, w.data, y.data);
}

template <class T>
void linear_backward_input(Stream stream, Matrix<const T> dy, Matrix<const T> w, Matrix<T> dx, bool accumulate) {
  gemm(stream, input_gradient<T>(dy.rows, dy.stride, w, dx.stride, accumulate), dy.data, w.data, dx.data);
}

template <class T>
void linear_backward_weight(Stream stream, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate) {
  gemm(stream, weight_gradient<T>(x.rows, dy.stride, x.stride, dw, accumulate), dy.data, x.data, dw.data);
}

template <class T>
void prepare_linear(std::int64_t rows, std::int64_t out, std::int64_t in, bool backward) {
  const Matrix<const T> w(nullptr, out, in);
  prepare_gemm(forward<T, T>(rows, in, w, out, false));
  prepare_gemm(forward<T, T>(rows, in, w, out, true));
  prepare_gemm(forward<T, float>(rows, in, w, out, false));
  if (backward) {
    prepare_gemm(input_gradient<T>(rows, out, w, in, false));
    prepare_gemm(input_gradient<T>(rows, out, w, in, true));
    prepare_gemm(weight_gradient<T>(rows, out, in, Matrix<const float>(nullptr, out, in), true));
  }
}

#define HRM_INSTANTIATE(T)                                                                                \
  template void linear_forward<T>(Stream, Matrix<const T>, Matrix<const T>, Matrix<T>, bool);             \
  template void linear_forward_f32<T>(Stream, Matrix<const T>, Matrix<const T>, Matrix<float>);           \
  template void linear_backward_input<T>(Stream, Matrix<const T>, Matrix<const T>, Matrix<T>, bool);      \
  template void linear_backward_weight<T>(Stream, Matrix<const T>, Matrix<const T>, Matrix<float>, bool); \
  template void prepare_linear<T>(std::int64_t, std::int64_t, std::int64_t, bool);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::kernels::cuda
#endif
