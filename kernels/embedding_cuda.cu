#include "kernels/embedding.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

template <class T>
struct Lookup {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> table;
  const std::int32_t* ids;
  float scale;
  Matrix<T> x;
  std::int32_t first;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const std::int64_t id = static_cast<std::int64_t>(ids[row]) - first;
    Pack16<T> pack{};
    if (id >= 0 && id < table.rows) {
      const Pack16<T> from = load_part<aligned>(table.row(id) + column, left);
      pack = make_pack<T>([&](int i) { return to_float(from.values[i]) * scale; });
    }
    store_part<aligned>(x.row(row) + column, pack, left);
  }
};

/// Where sums of dx rows go: dtable += scale * sum.
struct Table {
  Matrix<float> d;
  float scale;
  std::int32_t first;

  /// Row of `token`, -1 where another rank has it.
  __device__ __forceinline__ std::int64_t row_of(std::int32_t token) const {
    const std::int64_t id = static_cast<std::int64_t>(token) - first;
    return id < d.rows ? id : -1;
  }

  template <bool aligned, class T>
  __device__ __forceinline__ void add(std::int64_t row, std::int64_t column, std::int64_t left,
                                      const FloatsOf<T>& sum) const {
    float* to = d.row(row) + column;
    FloatsOf<T> total = load_floats<aligned, T>(to, left);
    for (int i = 0; i < Pack16<T>::count; ++i) {
      total[i] = fmaf(sum[i], scale, total[i]);
    }
    store_floats<aligned, T>(to, total, left);
  }
};

/// One row of the launch per chunk: its positions in order, into the table or a row of partial sums.
template <class T>
struct SumChunk {
  static constexpr int count = Pack16<T>::count;
  const EmbeddingRun* chunks;
  const std::int32_t* positions;
  Matrix<const T> dx;
  Table table;
  Matrix<float> partials;

  template <bool aligned>
  __device__ void apply(std::int64_t which, std::int64_t column, std::int64_t left) const {
    const EmbeddingRun chunk = chunks[which];
    const std::int64_t target = table.row_of(chunk.token);
    if (target < 0) {
      return;
    }
    FloatsOf<T> sum{};
#pragma unroll 4
    for (std::int32_t n = chunk.first; n < chunk.last; ++n) {
      const Pack16<T> x = load_part<aligned>(dx.row(positions[n]) + column, left);
      for (int i = 0; i < count; ++i) {
        sum[i] += to_float(x.values[i]);
      }
    }
    if (chunk.partial < 0) {
      table.add<aligned, T>(target, column, left, sum);
    } else {
      store_floats<aligned, T>(partials.row(chunk.partial) + column, sum, left);
    }
  }
};

/// One row of the launch per token with several chunks: its partial sums in order.
struct JoinChunks {
  static constexpr int count = 4;
  const EmbeddingRun* splits;
  Table table;
  Matrix<const float> partials;

  template <bool aligned>
  __device__ void apply(std::int64_t which, std::int64_t column, std::int64_t left) const {
    const EmbeddingRun split = splits[which];
    const std::int64_t target = table.row_of(split.token);
    if (target < 0) {
      return;
    }
    FloatsOf<float> sum{};
#pragma unroll 4
    for (std::int32_t n = split.first; n < split.last; ++n) {
      const FloatsOf<float> part = load_floats<aligned, float>(partials.row(n) + column, left);
      for (int i = 0; i < count; ++i) {
        sum[i] += part[i];
      }
    }
    table.add<aligned, float>(target, column, left, sum);
  }
};

}  // namespace

template <class T>
void embedding_forward(Stream stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale,
                       Matrix<T> x, std::int32_t first) {
  map(stream, Lookup<T>{table, ids.data(), scale, x, first}, x.rows, x.cols, aligned_rows(table) && aligned_rows(x));
}

template <class T>
void embedding_backward(Stream stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale,
                        Matrix<float> dtable, std::int32_t first, std::span<float> partials) {
  const Matrix<float> sums(partials.data(), order.partial_rows, dx.cols);
  const Table table{dtable, scale, first};
  const bool aligned = aligned_rows(dtable) && aligned_rows(sums);
  map(stream, SumChunk<T>{order.chunks.data(), order.positions.data(), dx, table, sums},
      static_cast<std::int64_t>(order.chunks.size()), dx.cols, aligned && aligned_rows(dx));
  map(stream, JoinChunks{order.splits.data(), table, sums}, static_cast<std::int64_t>(order.splits.size()), dx.cols,
      aligned);
}

#define HRM_INSTANTIATE(T)                                                                                             \
  template void embedding_forward(Stream, Matrix<const T>, std::span<const std::int32_t>, float, Matrix<T>,            \
                                  std::int32_t);                                                                       \
  template void embedding_backward(Stream, const EmbeddingOrder&, Matrix<const T>, float, Matrix<float>, std::int32_t, \
                                   std::span<float>);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::kernels::cuda
