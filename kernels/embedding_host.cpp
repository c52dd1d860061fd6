#include "kernels/embedding.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
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

EmbeddingOrderBuffer::EmbeddingOrderBuffer(std::int64_t slots)
    : slots_(slots), most_splits_(slots / embedding_chunk), words_(4 * (slots_ + most_splits_) + 3 * slots_ + 1) {}

EmbeddingOrder EmbeddingOrderBuffer::order_at(const std::int32_t* copy) const {
  const auto* runs = reinterpret_cast<const EmbeddingRun*>(copy);
  const std::int32_t* lists = copy + 4 * (slots_ + most_splits_);
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  return {.positions = {lists, size(positions_)},
          .starts = {lists + 2 * slots_, size(distinct_ + 1)},
          .ids = {lists + slots_, size(distinct_)},
          .chunks = {runs, size(chunks_)},
          .splits = {runs + slots_, size(splits_)},
          .partial_rows = partial_rows_};
}

void sort_by_id(std::span<const std::int32_t> ids, EmbeddingOrderBuffer& buffer) {
  const auto count = std::ssize(ids);
  ensure(count <= buffer.slots_, "more positions than the embedding order has slots");
  std::int32_t* positions = buffer.list(0);
  std::iota(positions, positions + count, 0);
  const auto id_of = [&](std::int32_t position) { return ids[static_cast<std::size_t>(position)]; };
  // Positions break ties, so the unstable sort gives the stable order without allocating.
  std::sort(positions, positions + count,
            [&](std::int32_t a, std::int32_t b) { return id_of(a) != id_of(b) ? id_of(a) < id_of(b) : a < b; });
  buffer.positions_ = count;
  buffer.distinct_ = buffer.chunks_ = buffer.splits_ = buffer.partial_rows_ = 0;
  for (std::int32_t first = 0; first < count;) {
    const std::int32_t id = id_of(positions[first]);
    std::int32_t last = first + 1;
    while (last < count && id_of(positions[last]) == id) {
      ++last;
    }
    buffer.append_run(id, first, last);
    first = last;
  }
  buffer.list(2)[buffer.distinct_] = static_cast<std::int32_t>(count);
}

void EmbeddingOrderBuffer::append_run(std::int32_t id, std::int32_t first, std::int32_t last) {
  list(1)[distinct_] = id;
  list(2)[distinct_++] = first;
  constexpr auto most = static_cast<std::int32_t>(embedding_chunk);
  const bool split = last - first > most;
  const auto first_partial = static_cast<std::int32_t>(partial_rows_);
  for (std::int32_t at = first; at < last; at += most) {
    const auto partial = split ? static_cast<std::int32_t>(partial_rows_++) : -1;
    runs(chunks_++)[0] = {at, std::min(at + most, last), id, partial};
  }
  if (split) {
    runs(slots_ + splits_++)[0] = {first_partial, static_cast<std::int32_t>(partial_rows_), id, -1};
  }
}

template <class T>
void embedding_forward(Stream stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale,
                       Matrix<T> x, std::int32_t first) {
  HRM_CUDA_DISPATCH(stream, embedding_forward<T>(stream, table, ids, scale, x, first));
  HRM_DISPATCH(embed<T>(table, ids, scale, x, first));
}

template <class T>
void embedding_backward(Stream stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale,
                        Matrix<float> dtable, std::int32_t first, [[maybe_unused]] std::span<float> partials) {
  ensure(stream.device == DeviceType::cpu || std::ssize(partials) >= order.partial_rows * dx.cols,
         "embedding_backward has too little scratch");
  HRM_CUDA_DISPATCH(stream, embedding_backward<T>(stream, order, dx, scale, dtable, first, partials));
  HRM_DISPATCH(embed_gradient<T>(order, dx, scale, dtable, first));
}

template void embedding_forward(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<float>,
                                std::int32_t);
template void embedding_forward(Stream, Matrix<const bf16>, std::span<const std::int32_t>, float, Matrix<bf16>,
                                std::int32_t);
template void embedding_backward(Stream, const EmbeddingOrder&, Matrix<const float>, float, Matrix<float>, std::int32_t,
                                 std::span<float>);
template void embedding_backward(Stream, const EmbeddingOrder&, Matrix<const bf16>, float, Matrix<float>, std::int32_t,
                                 std::span<float>);

}  // namespace hrm::kernels
#endif
