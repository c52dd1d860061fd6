// Host side of matmul.hpp. The matrix library multiplies T, or float for bf16 on machines without bf16 instructions:
// then rounded inputs are multiplied in float32 and the result is rounded.
#include <algorithm>
#include <atomic>
#include <optional>
#include <type_traits>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matmul_emulation.hpp"
#include "kernels/matmul_engine.hpp"
#include "kernels/matmul_gradient.hpp"
#include "kernels/matmul_packed.hpp"
#include "kernels/onednn.hpp"

namespace hrm::kernels {
namespace {

using onednn::Scalar;
using onednn::scalar_of;

std::atomic<bool> emulation{false};

/// What the library multiplies for values of type T.
template <class T>
Scalar library_scalar() {
  return std::is_same_v<T, bf16> && native_bf16() ? Scalar::bf16 : Scalar::f32;
}

void set_zero(Matrix<float> matrix) {
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    std::fill_n(matrix.row(r), matrix.cols, 0.0F);
  }
}

}  // namespace

template <class T>
struct LinearWeights<T>::Packed {
  Packed(std::int64_t rows, std::int64_t cols, bool with_backward)
      : out(rows), in(cols), forward(library_scalar<T>(), {.k = 1, .n = cols}, cols, rows) {
    if (with_backward) {
      backward.emplace(library_scalar<T>(), onednn::Strides{.k = cols, .n = 1}, rows, cols);
    }
    if (forward.plan.scalar != scalar_of<T>) {
      rounded = Buffer<float>(rows * cols, MemoryPart::weights);
    }
  }

  /// Packs both orientations; where bf16 is multiplied as float, from rounded floats.
  template <class V>
  void pack(std::span<const V> values) {
    ensure(std::ssize(values) == out * in, "size of a weight's values does not match");
    if (rounded.size() == 0) {
      pack_from(values.data());
      return;
    }
#pragma omp parallel for
    for (std::int64_t i = 0; i < rounded.size(); ++i) {
      rounded[i] = to_float(from_float<T>(to_float(values[static_cast<std::size_t>(i)])));
    }
    pack_from(rounded.data());
  }

  std::int64_t out;
  std::int64_t in;
  PackedWeight forward;                  // (in, out)
  std::optional<PackedWeight> backward;  // (out, in)
  Buffer<float> rounded;                 // (out, in), only where bf16 is multiplied as float

 private:
  template <class V>
  void pack_from(const V* values) {
    forward.pack(values);
    if (backward) {
      backward->pack(values);
    }
  }
};

template <class T>
LinearWeights<T>::LinearWeights(std::int64_t out, std::int64_t in, bool backward, Device& device) : out_(out), in_(in) {
  if (device.is_host()) {
    packed_ = std::make_unique<Packed>(out, in, backward);
  } else {
    plain_ = Buffer<T>(out * in, MemoryPart::weights, device.memory());
  }
}

template <class T>
LinearWeights<T>::LinearWeights(LinearWeights&&) noexcept = default;
template <class T>
LinearWeights<T>& LinearWeights<T>::operator=(LinearWeights&&) noexcept = default;
template <class T>
LinearWeights<T>::~LinearWeights() = default;

template <class T>
void LinearWeights<T>::load(Stream stream, std::span<const float> master) {
  packed_ ? packed_->pack(master) : kernels::cast<T>(stream, master, plain_.span());
}

template <class T>
void LinearWeights<T>::load(Stream stream, std::span<const bf16> values) requires std::is_same_v<T, bf16> {
  if (packed_) {
    packed_->pack(values);
  } else if constexpr (std::is_same_v<T, bf16>) {  // clang 14 reads the body for float too
    kernels::copy<T>(stream, {values.data(), out_, in_}, Matrix<T>(plain_.data(), out_, in_));
  }
}

template <class T>
std::vector<std::span<const std::byte>> LinearWeights<T>::memory() const {
  if (!packed_) {
    return {std::as_bytes(plain_.span())};
  }
  std::vector<std::span<const std::byte>> all{packed_->forward.data.span()};
  if (packed_->backward) {
    all.push_back(packed_->backward->data.span());
  }
  return all;
}

template <class T>
void linear_forward(Stream stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<T> y, bool accumulate) {
  HRM_CUDA_DISPATCH(stream, linear_forward<T>(stream, x, w.plain(), y, accumulate));
  multiply(x, w.packed().forward, y, accumulate);
}

template <class T>
void linear_forward_f32(Stream stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<float> y) {
  HRM_CUDA_DISPATCH(stream, linear_forward_f32<T>(stream, x, w.plain(), y));
  multiply(x, w.packed().forward, y, false);
}

template <class T>
void linear_backward_input(Stream stream, Matrix<const T> dy, const LinearWeights<T>& w, Matrix<T> dx,
                           bool accumulate) {
  HRM_CUDA_DISPATCH(stream, linear_backward_input<T>(stream, dy, w.plain(), dx, accumulate));
  ensure(w.packed().backward.has_value(), "a weight made without backward has no gradient");
  multiply(dy, *w.packed().backward, dx, accumulate);
}

template <class T>
void linear_backward_weight(Stream stream, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate) {
  HRM_CUDA_DISPATCH(stream, linear_backward_weight<T>(stream, dy, x, dw, accumulate));
  ensure(dy.rows == x.rows && dy.cols == dw.rows && x.cols == dw.cols, "shapes of a weight gradient do not match");
  if (x.rows == 0) {
    if (!accumulate) {
      set_zero(dw);
    }
    return;
  }
  weight_gradient(library_scalar<T>(), dy, x, dw, accumulate);
}

template <class T>
void prepare_linear(std::int64_t rows, std::int64_t out, std::int64_t in, bool backward, DeviceType device) {
  HRM_CUDA_DISPATCH(Stream{device}, prepare_linear<T>(rows, out, in, backward));
  if (rows == 0) {
    return;
  }
  const auto lock = MatmulEngine::instance().lock();
  const Scalar scalar = library_scalar<T>();
  prepare_multiply(PackedPlan(scalar, in, out), rows, true);
  if (backward) {
    prepare_multiply(PackedPlan(scalar, out, in), rows, false);
    prepare_weight_gradient<T>(scalar, rows, out, in);
  }
}

std::int64_t primitives_created() {
  return onednn::primitives_created();
}
bool native_bf16() {
  return onednn::has_bf16() && !emulation;
}
std::string matmul_library() {
  return onednn::version();
}
std::string instruction_set() {
  return onednn::instruction_set();
}

void emulate_bf16(bool on) {
  emulation = on;
}

template class LinearWeights<float>;
template class LinearWeights<bf16>;
template void linear_forward(Stream, Matrix<const float>, const LinearWeights<float>&, Matrix<float>, bool);
template void linear_forward(Stream, Matrix<const bf16>, const LinearWeights<bf16>&, Matrix<bf16>, bool);
template void linear_forward_f32(Stream, Matrix<const float>, const LinearWeights<float>&, Matrix<float>);
template void linear_forward_f32(Stream, Matrix<const bf16>, const LinearWeights<bf16>&, Matrix<float>);
template void linear_backward_input(Stream, Matrix<const float>, const LinearWeights<float>&, Matrix<float>, bool);
template void linear_backward_input(Stream, Matrix<const bf16>, const LinearWeights<bf16>&, Matrix<bf16>, bool);
template void linear_backward_weight(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>, bool);
template void linear_backward_weight(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<float>, bool);
template void prepare_linear<float>(std::int64_t, std::int64_t, std::int64_t, bool, DeviceType);
template void prepare_linear<bf16>(std::int64_t, std::int64_t, std::int64_t, bool, DeviceType);

}  // namespace hrm::kernels
