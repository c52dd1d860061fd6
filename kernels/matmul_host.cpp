// Host side of matmul.hpp: products with packed weights are cut by product_tiles, weight gradients by gradient_tiles.
// L is the type that the library multiplies: T, or float for bf16 on machines without bf16 instructions, where rounded
// inputs are multiplied in float32 and the result is rounded.
#include <atomic>
#include <optional>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matmul_copy.hpp"
#include "kernels/matmul_emulation.hpp"
#include "kernels/matmul_engine.hpp"
#include "kernels/onednn.hpp"

namespace hrm::kernels {
namespace {

using onednn::ProductSpec;
using onednn::Scalar;
using onednn::scalar_of;

std::atomic<bool> emulation{false};

/// What the library multiplies for values of type T.
template <class T>
Scalar library_scalar() {
  return std::is_same_v<T, bf16> && native_bf16() ? Scalar::bf16 : Scalar::f32;
}

std::size_t bytes_of(Scalar scalar) {
  return scalar == Scalar::bf16 ? sizeof(bf16) : sizeof(float);
}

/// Layout of B (k, n) and whether slabs of its columns can be used alone.
struct PackedPlan {
  PackedPlan(Scalar type, std::int64_t rows, std::int64_t cols)
      : scalar(type), k(rows), n(cols), layout(type, rows, cols), slab_bytes(slab()) {}

  Scalar scalar;
  std::int64_t k;
  std::int64_t n;
  onednn::PackedLayout layout;
  std::size_t slab_bytes;  ///< 0: no slabs

  Tiles tiles(std::int64_t rows) const { return product_tiles(rows, n, slab_bytes > 0); }

 private:
  std::size_t slab() const {
    if (n < 2 * slab_columns) {
      return 0;
    }
    const onednn::PackedLayout full(scalar, k, slab_columns);
    const std::int64_t rest = n % slab_columns;
    const bool fits = layout.contains(full) && (rest == 0 || layout.contains({scalar, k, rest}));
    return fits ? full.bytes() : 0;
  }
};

/// A weight packed for one orientation, B (k, n).
struct PackedWeight {
  PackedWeight(Scalar scalar, onednn::Strides source, std::int64_t k, std::int64_t n)
      : plan(scalar, k, n),
        data(static_cast<std::int64_t>(plan.layout.bytes()), MemoryPart::weights),
        packer(source, k, n, plan.layout) {}

  const std::byte* columns_from(std::int64_t first) const {
    return data.data() + static_cast<std::size_t>(first / slab_columns) * plan.slab_bytes;
  }

  PackedPlan plan;
  Buffer<std::byte> data;
  onednn::Packer packer;
};

ProductSpec product_spec(const PackedPlan& plan, Scalar out, std::int64_t m, std::int64_t n, bool accumulate) {
  return {.m = m,
          .n = n,
          .k = plan.k,
          .in = plan.scalar,
          .out = out,
          .b_packed = true,
          .accumulate = accumulate,
          .c_stride = n};
}

void require_products(const PackedPlan& plan, const Tiles& tiles, Scalar out, bool accumulate) {
  for (const std::int64_t m : tiles.row_extents()) {
    for (const std::int64_t n : tiles.col_extents()) {
      if (m > 0 && n > 0) {
        MatmulEngine::instance().require(product_spec(plan, out, m, n, accumulate));
      }
    }
  }
}

/// Copies of one tile's operands; what is in place needs none.
CopyBytes product_copies(const PackedPlan& plan, const Tiles& tiles, Scalar out, bool copy_a, bool copy_c) {
  const auto rows = static_cast<std::size_t>(tiles.tile_rows);
  return {.a = copy_a ? rows * static_cast<std::size_t>(plan.k) * bytes_of(plan.scalar) : 0,
          .b = 0,
          .c = copy_c ? rows * static_cast<std::size_t>(tiles.tile_cols) * bytes_of(out) : 0};
}

/// y (+)= x B.
template <class L, class T, class C>
void multiply_as(Matrix<const T> x, const PackedWeight& w, Matrix<C> y, bool accumulate) {
  using Out = std::conditional_t<std::is_same_v<C, float>, float, L>;
  ensure(x.rows == y.rows && x.cols == w.plan.k && y.cols == w.plan.n, "shapes of a matrix product do not match");
  if (y.rows == 0) {
    return;
  }
  const Tiles tiles = w.plan.tiles(y.rows);
  const bool copy_a = !std::is_same_v<L, T> || !is_dense(x);
  const bool copy_c = !std::is_same_v<Out, C> || !is_dense(y) || tiles.tile_cols < y.cols;
  MatmulEngine& engine = MatmulEngine::instance();
  const auto lock = engine.lock();
  require_products(w.plan, tiles, scalar_of<Out>, accumulate);
  engine.reserve(product_copies(w.plan, tiles, scalar_of<Out>, copy_a, copy_c));

  engine.for_each_tile(tiles, [&](const Tile& t, const Workplace& at) {
    const L* a = dense_operand<L>(x.slice(t.row, t.rows), at.a);
    const ResultTile<Out, C> c(y.slice(t.row, t.rows).columns(t.col, t.cols), at.c, accumulate);
    const ProductSpec spec = product_spec(w.plan, scalar_of<Out>, t.rows, t.cols, accumulate);
    const bool good = engine.run(spec, at, a, w.columns_from(t.col), c.data());
    c.finish();
    return good;
  });
}

template <class T, class C>
void multiply(Matrix<const T> x, const PackedWeight& w, Matrix<C> y, bool accumulate) {
  if (w.plan.scalar == scalar_of<T>) {
    multiply_as<T>(x, w, y, accumulate);
  } else {
    multiply_as<float>(x, w, y, accumulate);
  }
}

/// A weight gradient seen by the library: dy is copied densely per tile, x and dw stay where they are (measured: 5 to
/// 15 % faster than dense copies of all three). Only converted values of x need a copy.
struct GradientPlan {
  Scalar in;
  Tiles tiles;
  std::int64_t rows;
  std::int64_t x_stride;  ///< 0: x is copied
  std::int64_t dw_stride;

  ProductSpec spec(std::int64_t m, std::int64_t n, std::int64_t k, bool accumulate) const {
    return {.m = m,
            .n = n,
            .k = k,
            .in = in,
            .a_transposed = true,
            .accumulate = accumulate,
            .b_stride = x_stride > 0 ? x_stride : n,
            .c_stride = dw_stride};
  }
};

/// The first chunk of rows adds to dw when `accumulate`; later ones always add.
void require_gradients(const GradientPlan& plan, bool accumulate) {
  MatmulEngine& engine = MatmulEngine::instance();
  for (const std::int64_t m : plan.tiles.row_extents()) {
    for (const std::int64_t n : plan.tiles.col_extents()) {
      if (m == 0 || n == 0) {
        continue;
      }
      engine.require(plan.spec(m, n, std::min(plan.rows, gradient_chunk), accumulate));
      if (plan.rows >= 2 * gradient_chunk) {
        engine.require(plan.spec(m, n, gradient_chunk, true));
      }
      if (plan.rows > gradient_chunk && plan.rows % gradient_chunk > 0) {
        engine.require(plan.spec(m, n, plan.rows % gradient_chunk, true));
      }
    }
  }
  const auto chunk = static_cast<std::size_t>(gradient_chunk) * bytes_of(plan.in);
  engine.reserve({.a = chunk * static_cast<std::size_t>(plan.tiles.tile_rows),
                  .b = plan.x_stride > 0 ? 0 : chunk * static_cast<std::size_t>(plan.tiles.tile_cols),
                  .c = 0});
}

/// One tile of dw, chunk after chunk of rows, so that the sums do not depend on who computes them.
template <class L, class T>
bool gradient_tile(const GradientPlan& plan, const Tile& t, const Workplace& at, Matrix<const T> dy, Matrix<const T> x,
                   Matrix<float> dw, bool accumulate) {
  bool good = true;
  for (std::int64_t row = 0; row < plan.rows; row += gradient_chunk) {
    const std::int64_t k = std::min(gradient_chunk, plan.rows - row);
    const L* a = dense_operand<L>(dy.slice(row, k).columns(t.row, t.rows), at.a);
    const Matrix<const T> x_part = x.slice(row, k).columns(t.col, t.cols);
    const void* b = plan.x_stride > 0 ? static_cast<const void*>(x_part.data) : dense_operand<L>(x_part, at.b);
    good = MatmulEngine::instance().run(plan.spec(t.rows, t.cols, k, accumulate || row > 0), at, a, b,
                                        dw.row(t.row) + t.col) &&
           good;
  }
  return good;
}

/// dw (+)= dyᵀ x.
template <class L, class T>
void gradient_as(Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate) {
  const GradientPlan plan{scalar_of<L>, gradient_tiles(dw.rows, dw.cols), x.rows, std::is_same_v<L, T> ? x.stride : 0,
                          dw.stride};
  MatmulEngine& engine = MatmulEngine::instance();
  const auto lock = engine.lock();
  require_gradients(plan, accumulate);
  engine.for_each_tile(plan.tiles, [&](const Tile& t, const Workplace& at) {
    return gradient_tile<L>(plan, t, at, dy, x, dw, accumulate);
  });
}

void set_zero(Matrix<float> matrix) {
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    std::fill_n(matrix.row(r), matrix.cols, 0.0F);
  }
}

/// Primitives and memory of y = x B for `rows` rows, whatever the strides of x and y; logits dense.
template <class T>
void prepare_product(const PackedPlan& plan, std::int64_t rows, bool logits) {
  MatmulEngine& engine = MatmulEngine::instance();
  const Tiles tiles = plan.tiles(rows);
  require_products(plan, tiles, plan.scalar, false);
  require_products(plan, tiles, plan.scalar, true);
  if (logits) {
    require_products(plan, tiles, Scalar::f32, false);
  }
  engine.reserve(product_copies(plan, tiles, plan.scalar, true, true));
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

  std::int64_t out;
  std::int64_t in;
  PackedWeight forward;                  // (in, out)
  std::optional<PackedWeight> backward;  // (out, in)
  Buffer<float> rounded;                 // (out, in), only where bf16 is multiplied as float
};

template <class T>
LinearWeights<T>::LinearWeights(std::int64_t out, std::int64_t in, bool backward)
    : packed_(std::make_unique<Packed>(out, in, backward)) {}

template <class T>
LinearWeights<T>::LinearWeights(LinearWeights&&) noexcept = default;
template <class T>
LinearWeights<T>& LinearWeights<T>::operator=(LinearWeights&&) noexcept = default;
template <class T>
LinearWeights<T>::~LinearWeights() = default;

template <class T>
std::int64_t LinearWeights<T>::out() const {
  return packed_->out;
}
template <class T>
std::int64_t LinearWeights<T>::in() const {
  return packed_->in;
}

template <class T>
void LinearWeights<T>::load(Stream, std::span<const float> master) {
  Packed& packed = *packed_;
  ensure(static_cast<std::int64_t>(master.size()) == packed.out * packed.in, "size of a master weight does not match");
  const float* source = master.data();
  if (packed.rounded.size() > 0) {
#pragma omp parallel for
    for (std::int64_t i = 0; i < packed.rounded.size(); ++i) {
      packed.rounded[i] = to_float(to_bf16(master[static_cast<std::size_t>(i)]));
    }
    source = packed.rounded.data();
  }
  packed.forward.packer.run(source, packed.forward.data.data());
  if (packed.backward) {
    packed.backward->packer.run(source, packed.backward->data.data());
  }
}

template <class T>
void linear_forward(Stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<T> y, bool accumulate) {
  multiply(x, w.packed().forward, y, accumulate);
}

template <class T>
void linear_forward_f32(Stream, Matrix<const T> x, const LinearWeights<T>& w, Matrix<float> y) {
  multiply(x, w.packed().forward, y, false);
}

template <class T>
void linear_backward_input(Stream, Matrix<const T> dy, const LinearWeights<T>& w, Matrix<T> dx, bool accumulate) {
  ensure(w.packed().backward.has_value(), "a weight made without backward has no gradient");
  multiply(dy, *w.packed().backward, dx, accumulate);
}

template <class T>
void linear_backward_weight(Stream, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate) {
  ensure(dy.rows == x.rows && dy.cols == dw.rows && x.cols == dw.cols, "shapes of a weight gradient do not match");
  if (x.rows == 0) {
    if (!accumulate) {
      set_zero(dw);
    }
    return;
  }
  if (library_scalar<T>() == scalar_of<T>) {
    gradient_as<T>(dy, x, dw, accumulate);
  } else {
    gradient_as<float>(dy, x, dw, accumulate);
  }
}

template <class T>
void prepare_linear(std::int64_t rows, std::int64_t out, std::int64_t in, bool backward) {
  MatmulEngine& engine = MatmulEngine::instance();
  const auto lock = engine.lock();
  const Scalar scalar = library_scalar<T>();
  const PackedPlan forward_plan(scalar, in, out);
  const PackedPlan backward_plan(scalar, out, in);
  prepare_product<T>(forward_plan, rows, true);
  if (backward) {
    prepare_product<T>(backward_plan, rows, false);
    const GradientPlan gradient{scalar, gradient_tiles(out, in), rows, scalar == scalar_of<T> ? in : 0, in};
    require_gradients(gradient, false);
    require_gradients(gradient, true);
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
template void prepare_linear<float>(std::int64_t, std::int64_t, std::int64_t, bool);
template void prepare_linear<bf16>(std::int64_t, std::int64_t, std::int64_t, bool);

}  // namespace hrm::kernels
