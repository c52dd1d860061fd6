#include "kernels/embedding.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void embed(Matrix<const T> table, std::span<const std::int32_t> ids, float scale, Matrix<T> x, std::int32_t first) {
  for_rows(x.rows, x.cols, [&](std::int64_t row) {
    const std::int64_t id = ids[static_cast<std::size_t>(row)] - first;
    if (id < 0 || id >= table.rows) {
      std::fill_n(x.row(row), x.cols, T{});
      return;
    }
    const T* from = table.row(id);
    for_lanes(x.cols, [&](std::int64_t i, auto count) {
      store(hn::Mul(load(from + i, count), constant(scale)), x.row(row) + i, count);
    });
  });
}

template <class T>
void embed_gradient(const EmbeddingOrder& order, Matrix<const T> dx, float scale, Matrix<float> dtable,
                    std::int32_t first) {
  const auto distinct = static_cast<std::int64_t>(order.ids.size());
#pragma omp parallel for schedule(dynamic, 8) if (distinct * dx.cols >= 16384)
  for (std::int64_t k = 0; k < distinct; ++k) {
    const std::int64_t id = order.ids[static_cast<std::size_t>(k)] - first;
    if (id < 0 || id >= dtable.rows) {
      continue;
    }
    float* out = dtable.row(id);
    const auto begin = static_cast<std::size_t>(order.starts[static_cast<std::size_t>(k)]);
    const auto end = static_cast<std::size_t>(order.starts[static_cast<std::size_t>(k) + 1]);
    for_lanes(dx.cols, [&](std::int64_t i, auto count) {
      FloatVec sum = zero_vector();
      for (std::size_t n = begin; n < end; ++n) {
        sum = hn::Add(sum, load(dx.row(order.positions[n]) + i, count));
      }
      store(hn::MulAdd(sum, constant(scale), load(out + i, count)), out + i, count);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

void sort_by_id(std::span<const std::int32_t> ids, EmbeddingOrder& order) {
  order.positions.resize(ids.size());
  std::iota(order.positions.begin(), order.positions.end(), 0);
  // Positions break ties, so the unstable sort gives the stable order without allocating.
  std::sort(order.positions.begin(), order.positions.end(), [&](std::int32_t a, std::int32_t b) {
    const std::int32_t id_a = ids[static_cast<std::size_t>(a)];
    const std::int32_t id_b = ids[static_cast<std::size_t>(b)];
    return id_a != id_b ? id_a < id_b : a < b;
  });
  order.starts.clear();
  order.ids.clear();
  for (std::size_t n = 0; n < order.positions.size(); ++n) {
    const std::int32_t id = ids[static_cast<std::size_t>(order.positions[n])];
    if (order.ids.empty() || order.ids.back() != id) {
      order.ids.push_back(id);
      order.starts.push_back(static_cast<std::int32_t>(n));
    }
  }
  order.starts.push_back(static_cast<std::int32_t>(order.positions.size()));
}

template <class T>
void embedding_forward(Stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale, Matrix<T> x,
                       std::int32_t first) {
  HRM_DISPATCH(embed<T>(table, ids, scale, x, first));
}

template <class T>
void embedding_backward(Stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale, Matrix<float> dtable,
                        std::int32_t first) {
  HRM_DISPATCH(embed_gradient<T>(order, dx, scale, dtable, first));
}

template void embedding_forward(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<float>,
                                std::int32_t);
template void embedding_forward(Stream, Matrix<const bf16>, std::span<const std::int32_t>, float, Matrix<bf16>,
                                std::int32_t);
template void embedding_backward(Stream, const EmbeddingOrder&, Matrix<const float>, float, Matrix<float>,
                                 std::int32_t);
template void embedding_backward(Stream, const EmbeddingOrder&, Matrix<const bf16>, float, Matrix<float>, std::int32_t);

}  // namespace hrm::kernels
#endif
