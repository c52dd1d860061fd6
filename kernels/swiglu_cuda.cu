#include "kernels/swiglu.hpp"

#include "kernels/cuda_rows.hpp"
#include "kernels/cuda_sigmoid.hpp"

namespace hrm::kernels::cuda {
namespace {

template <class T>
struct Forward {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> x;
  Matrix<T> h;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const T* gate = x.row(row) + column;
    const Pack16<T> g = load_part<aligned>(gate, left);
    const Pack16<T> p = load_part<aligned>(gate + h.cols, left);
    const auto product = [&](int i) {
      const float gi = to_float(g.values[i]);
      return gi * sigmoid(gi) * to_float(p.values[i]);
    };
    store_part<aligned>(h.row(row) + column, make_pack<T>(product), left);
  }
};

/// silu'(g) = s + silu(g) (1 - s), s = sigmoid(g). Everything is read before anything is written: dx may be x, h dh.
template <class T>
struct Backward {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> x;
  Matrix<const T> dh;
  Matrix<T> dx;
  Matrix<T> h;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const T* gate = x.row(row) + column;
    const Pack16<T> g = load_part<aligned>(gate, left);
    const Pack16<T> p = load_part<aligned>(gate + h.cols, left);
    const Pack16<T> upstream = load_part<aligned>(dh.row(row) + column, left);
    FloatsOf<T> s;
    for (int i = 0; i < count; ++i) {
      s[i] = sigmoid(to_float(g.values[i]));
    }
    const auto silu = [&](int i) { return to_float(g.values[i]) * s[i]; };
    const auto d_gate = [&](int i) {
      return to_float(upstream.values[i]) * to_float(p.values[i]) * fmaf(silu(i), 1.0F - s[i], s[i]);
    };
    const auto d_up = [&](int i) { return to_float(upstream.values[i]) * silu(i); };
    const auto product = [&](int i) { return silu(i) * to_float(p.values[i]); };
    T* out = dx.row(row) + column;
    store_part<aligned>(out, make_pack<T>(d_gate), left);
    store_part<aligned>(out + h.cols, make_pack<T>(d_up), left);
    store_part<aligned>(h.row(row) + column, make_pack<T>(product), left);
  }
};

}  // namespace

template <class T>
void swiglu_forward(Stream stream, Matrix<const T> x, Matrix<T> h) {
  map(stream, Forward<T>{x, h}, h.rows, h.cols, aligned_rows(x) && aligned_rows(h) && h.cols % Pack16<T>::count == 0);
}

template <class T>
void swiglu_backward(Stream stream, Matrix<const T> x, Matrix<const T> dh, Matrix<T> dx, Matrix<T> h) {
  map(stream, Backward<T>{x, dh, dx, h}, h.rows, h.cols,
      aligned_rows(x) && aligned_rows(dh) && aligned_rows(dx) && aligned_rows(h) && h.cols % Pack16<T>::count == 0);
}

template void swiglu_forward(Stream, Matrix<const float>, Matrix<float>);
template void swiglu_forward(Stream, Matrix<const bf16>, Matrix<bf16>);
template void swiglu_backward(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>, Matrix<float>);
template void swiglu_backward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, Matrix<bf16>);

}  // namespace hrm::kernels::cuda
