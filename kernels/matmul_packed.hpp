#pragma once
// Products with a weight that is packed for the matrix library: y = x B.
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/buffer.hpp"
#include "base/matrix.hpp"
#include "kernels/matmul_tiles.hpp"
#include "kernels/onednn.hpp"

namespace hrm::kernels {

/// Layout of B (k, n) and whether slabs of its columns can be used alone.
struct PackedPlan {
  PackedPlan(onednn::Scalar type, std::int64_t rows, std::int64_t cols)
      : scalar(type), k(rows), n(cols), layout(type, rows, cols), slab_bytes(slab()) {}

  onednn::Scalar scalar;
  std::int64_t k;
  std::int64_t n;
  onednn::PackedLayout layout;
  std::size_t slab_bytes;  ///< 0: no slabs

  Tiles tiles(std::int64_t rows) const { return product_tiles(rows, n, slab_bytes > 0); }

 private:
  std::size_t slab() const;
};

/// A weight packed for one orientation, B (k, n), from float32 or from values of the type that it is packed in.
struct PackedWeight {
  PackedWeight(onednn::Scalar scalar, onednn::Strides source, std::int64_t k, std::int64_t n)
      : plan(scalar, k, n),
        data(static_cast<std::int64_t>(plan.layout.bytes()), MemoryPart::weights),
        packer(onednn::Scalar::f32, source, k, n, plan.layout) {
    if (scalar == onednn::Scalar::bf16) {
      bf16_packer.emplace(scalar, source, k, n, plan.layout);
    }
  }

  void pack(const float* values) { packer.run(values, data.data()); }
  void pack(const bf16* values) { bf16_packer.value().run(values, data.data()); }

  const std::byte* columns_from(std::int64_t first) const {
    return data.data() + static_cast<std::size_t>(first / slab_columns) * plan.slab_bytes;
  }

  PackedPlan plan;
  Buffer<std::byte> data;
  onednn::Packer packer;
  std::optional<onednn::Packer> bf16_packer;  // only where B is packed as bf16
};

/// y (+)= x B, in the type that B is packed in. T and C: float and float, bf16 and bf16, bf16 and float.
template <class T, class C>
void multiply(Matrix<const T> x, const PackedWeight& w, Matrix<C> y, bool accumulate);

/// Primitives and memory of y = x B for `rows` rows, whatever the strides of x and y; `logits`: for a dense float32 y
/// too. The caller holds the engine's lock.
void prepare_multiply(const PackedPlan& plan, std::int64_t rows, bool logits);

}  // namespace hrm::kernels
