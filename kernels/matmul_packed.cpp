#include "kernels/matmul_packed.hpp"

#include <type_traits>

#include "base/error.hpp"
#include "kernels/matmul_copy.hpp"
#include "kernels/matmul_engine.hpp"

namespace hrm::kernels {
namespace {

using onednn::ProductSpec;
using onednn::Scalar;
using onednn::scalar_of;

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
  return {.a = copy_a ? rows * static_cast<std::size_t>(plan.k) * onednn::bytes(plan.scalar) : 0,
          .b = 0,
          .c = copy_c ? rows * static_cast<std::size_t>(tiles.tile_cols) * onednn::bytes(out) : 0};
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

}  // namespace

std::size_t PackedPlan::slab() const {
  if (n < 2 * slab_columns) {
    return 0;
  }
  const onednn::PackedLayout full(scalar, k, slab_columns);
  const std::int64_t rest = n % slab_columns;
  const bool fits = layout.contains(full) && (rest == 0 || layout.contains({scalar, k, rest}));
  return fits ? full.bytes() : 0;
}

template <class T, class C>
void multiply(Matrix<const T> x, const PackedWeight& w, Matrix<C> y, bool accumulate) {
  if (w.plan.scalar == scalar_of<T>) {
    multiply_as<T>(x, w, y, accumulate);
  } else {
    multiply_as<float>(x, w, y, accumulate);
  }
}

void prepare_multiply(const PackedPlan& plan, std::int64_t rows, bool logits) {
  MatmulEngine& engine = MatmulEngine::instance();
  const Tiles tiles = plan.tiles(rows);
  require_products(plan, tiles, plan.scalar, false);
  require_products(plan, tiles, plan.scalar, true);
  engine.reserve(product_copies(plan, tiles, plan.scalar, true, true));
  if (logits) {
    require_products(plan, tiles, Scalar::f32, false);
    engine.reserve(product_copies(plan, tiles, Scalar::f32, true, tiles.tile_cols < plan.n));
  }
}

template void multiply(Matrix<const float>, const PackedWeight&, Matrix<float>, bool);
template void multiply(Matrix<const bf16>, const PackedWeight&, Matrix<bf16>, bool);
template void multiply(Matrix<const bf16>, const PackedWeight&, Matrix<float>, bool);

}  // namespace hrm::kernels
