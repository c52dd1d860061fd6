#include "kernels/matmul_gradient.hpp"

#include <type_traits>

#include "kernels/matmul_copy.hpp"
#include "kernels/matmul_engine.hpp"
#include "kernels/matmul_tiles.hpp"

namespace hrm::kernels {
namespace {

using onednn::ProductSpec;
using onednn::Scalar;
using onednn::scalar_of;

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
  const auto chunk = static_cast<std::size_t>(gradient_chunk) * onednn::bytes(plan.in);
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

}  // namespace

template <class T>
void weight_gradient(Scalar scalar, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate) {
  if (scalar == scalar_of<T>) {
    gradient_as<T>(dy, x, dw, accumulate);
  } else {
    gradient_as<float>(dy, x, dw, accumulate);
  }
}

template <class T>
void prepare_weight_gradient(Scalar scalar, std::int64_t rows, std::int64_t out, std::int64_t in) {
  const GradientPlan plan{scalar, gradient_tiles(out, in), rows, scalar == scalar_of<T> ? in : 0, in};
  require_gradients(plan, false);
  require_gradients(plan, true);
}

template void weight_gradient(Scalar, Matrix<const float>, Matrix<const float>, Matrix<float>, bool);
template void weight_gradient(Scalar, Matrix<const bf16>, Matrix<const bf16>, Matrix<float>, bool);
template void prepare_weight_gradient<float>(Scalar, std::int64_t, std::int64_t, std::int64_t);
template void prepare_weight_gradient<bf16>(Scalar, std::int64_t, std::int64_t, std::int64_t);

}  // namespace hrm::kernels
