#include "kernels/head_gate.hpp"

#include "kernels/cuda_rows.hpp"
#include "kernels/cuda_sigmoid.hpp"

namespace hrm::kernels::cuda {
namespace {

template <class T>
struct Forward {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> gate;
  Matrix<const T> a;
  Matrix<T> y;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const Pack16<T> g = load_part<aligned>(gate.row(row) + column, left);
    const Pack16<T> value = load_part<aligned>(a.row(row) + column, left);
    const auto product = [&](int i) { return sigmoid(to_float(g.values[i])) * to_float(value.values[i]); };
    store_part<aligned>(y.row(row) + column, make_pack<T>(product), left);
  }
};

/// Everything is read before anything is written: da may be dy.
template <class T>
struct Backward {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> gate;
  Matrix<const T> a;
  Matrix<const T> dy;
  Matrix<T> dgate;
  Matrix<T> da;
  Matrix<T> y;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const Pack16<T> g = load_part<aligned>(gate.row(row) + column, left);
    const Pack16<T> value = load_part<aligned>(a.row(row) + column, left);
    const Pack16<T> upstream = load_part<aligned>(dy.row(row) + column, left);
    FloatsOf<T> s;
    for (int i = 0; i < count; ++i) {
      s[i] = sigmoid(to_float(g.values[i]));
    }
    const auto d_gate = [&](int i) {
      return to_float(upstream.values[i]) * to_float(value.values[i]) * fmaf(-s[i], s[i], s[i]);
    };
    const auto d_a = [&](int i) { return to_float(upstream.values[i]) * s[i]; };
    const auto product = [&](int i) { return s[i] * to_float(value.values[i]); };
    store_part<aligned>(dgate.row(row) + column, make_pack<T>(d_gate), left);
    store_part<aligned>(da.row(row) + column, make_pack<T>(d_a), left);
    store_part<aligned>(y.row(row) + column, make_pack<T>(product), left);
  }
};

}  // namespace

template <class T>
void head_gate_forward(Stream stream, Matrix<const T> gate, Matrix<const T> a, Matrix<T> y) {
  map(stream, Forward<T>{gate, a, y}, gate.rows, gate.cols, aligned_rows(gate) && aligned_rows(a) && aligned_rows(y));
}

template <class T>
void head_gate_backward(Stream stream, Matrix<const T> gate, Matrix<const T> a, Matrix<const T> dy, Matrix<T> dgate,
                        Matrix<T> da, Matrix<T> y) {
  map(stream, Backward<T>{gate, a, dy, dgate, da, y}, gate.rows, gate.cols,
      aligned_rows(gate) && aligned_rows(a) && aligned_rows(dy) && aligned_rows(dgate) && aligned_rows(da) &&
          aligned_rows(y));
}

template void head_gate_forward(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>);
template void head_gate_forward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>);
template void head_gate_backward(Stream, Matrix<const float>, Matrix<const float>, Matrix<const float>, Matrix<float>,
                                 Matrix<float>, Matrix<float>);
template void head_gate_backward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>,
                                 Matrix<bf16>, Matrix<bf16>);

}  // namespace hrm::kernels::cuda
