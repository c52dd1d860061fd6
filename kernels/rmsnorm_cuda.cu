#include "kernels/rmsnorm.hpp"

#include "kernels/cuda_rows.hpp"
#include "kernels/fused_rmsnorm.hpp"

namespace hrm::kernels::cuda {
namespace {

/// Most threads of a block whose threads hold `held` packs.
constexpr int norm_threads(int held) {
  return held == 1 ? 256 : 512;
}
/// Blocks of so many threads that a multiprocessor is to hold: what is under way to it hides its memory's latency.
/// Only launch bounds ask, which a compiler for the host passes over.
[[maybe_unused]] constexpr int norm_blocks(int held) {
  return held == 1 ? 4 : held == 2 ? 2 : 1;
}

/// One block per row: every thread holds `held` packs of it in registers, so that each element is read once. A row
/// that is wider than a block holds is read in rounds, and again for the second half of the work.
struct RowShape {
  int held;
  unsigned threads;
};

RowShape row_shape(std::int64_t packs) {
  const int held = packs <= norm_threads(1) ? 1 : packs <= 2 * norm_threads(2) ? 2 : 4;
  return {held, warps_of(std::min<std::int64_t>(norm_threads(held), (packs + held - 1) / held))};
}

template <int count, int held>
__device__ __forceinline__ std::int64_t round_columns() {
  return static_cast<std::int64_t>(blockDim.x) * held * count;
}

/// Column of this thread's pack h in the round that starts at `round`.
template <int count>
__device__ __forceinline__ std::int64_t pack_column(std::int64_t round, int h) {
  return round + static_cast<std::int64_t>(h * blockDim.x + threadIdx.x) * count;
}

/// `adds`: u = a + b is normed, else a.
template <class T, int held, bool aligned, bool adds>
__global__ void __launch_bounds__(norm_threads(held))
    norm_forward(Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y, float* rstd) {
  constexpr int count = Pack16<T>::count;
  HRM_SHARED(float, shared, [warp_lanes]);
  const std::int64_t row = blockIdx.x;
  const std::int64_t cols = a.cols;
  const std::int64_t step = round_columns<count, held>();
  Pack16<T> x[held];
  float squares = 0;
  for (std::int64_t round = 0; round < cols; round += step) {
#pragma unroll
    for (int h = 0; h < held; ++h) {
      const std::int64_t column = pack_column<count>(round, h);
      if (column >= cols) {
        continue;
      }
      x[h] = load_part<aligned>(a.row(row) + column, cols - column);
      if constexpr (adds) {
        const Pack16<T> other = load_part<aligned>(b.row(row) + column, cols - column);
        x[h] = make_pack<T>([&](int i) { return to_float(x[h].values[i]) + to_float(other.values[i]); });
        store_part<aligned>(u.row(row) + column, x[h], cols - column);
      }
      for (int i = 0; i < count; ++i) {
        squares = fmaf(to_float(x[h].values[i]), to_float(x[h].values[i]), squares);
      }
    }
  }
  const float r = 1.0F / sqrtf(block_sum(squares, shared) / static_cast<float>(cols) + eps);
  const T* again = adds ? u.row(row) : a.row(row);
  for (std::int64_t round = 0; round < cols; round += step) {
#pragma unroll
    for (int h = 0; h < held; ++h) {
      const std::int64_t column = pack_column<count>(round, h);
      if (column >= cols) {
        continue;
      }
      if (cols > step) {
        x[h] = load_part<aligned>(again + column, cols - column);
      }
      store_part<aligned>(y.row(row) + column, make_pack<T>([&](int i) { return to_float(x[h].values[i]) * r; }),
                          cols - column);
    }
  }
  if (threadIdx.x == 0) {
    rstd[row] = r;
  }
}

/// Where else a gradient goes.
template <class T>
struct Targets {
  Matrix<T> sums[most_merged];
  Matrix<T> copies[most_merged];
  int sum_count = 0;
  int copy_count = 0;
};

/// sums += dx and copies = dx at one place.
template <bool aligned, class T>
__device__ __forceinline__ void spread(const Targets<T>& targets, const Pack16<T>& dx, std::int64_t row,
                                       std::int64_t column, std::int64_t left) {
#pragma unroll
  for (int t = 0; t < static_cast<int>(most_merged); ++t) {
    if (t < targets.sum_count) {
      T* sum = targets.sums[t].row(row) + column;
      const Pack16<T> old = load_part<aligned>(static_cast<const T*>(sum), left);
      const auto total = [&](int i) { return to_float(old.values[i]) + to_float(dx.values[i]); };
      store_part<aligned>(sum, make_pack<T>(total), left);
    }
    if (t < targets.copy_count) {
      store_part<aligned>(targets.copies[t].row(row) + column, dx, left);
    }
  }
}

template <class T, int held, bool aligned>
__global__ void __launch_bounds__(norm_threads(held), norm_blocks(held))
    norm_backward(Matrix<const T> y, const float* rstd, Matrix<const T> dy, Matrix<T> dx, bool accumulate,
                  Targets<T> targets) {
  constexpr int count = Pack16<T>::count;
  HRM_SHARED(float, shared, [warp_lanes]);
  const std::int64_t row = blockIdx.x;
  const std::int64_t cols = y.cols;
  const std::int64_t step = round_columns<count, held>();
  Pack16<T> value[held];
  Pack16<T> upstream[held];
  float product = 0;
  for (std::int64_t round = 0; round < cols; round += step) {
#pragma unroll
    for (int h = 0; h < held; ++h) {
      const std::int64_t column = pack_column<count>(round, h);
      if (column >= cols) {
        continue;
      }
      value[h] = load_part<aligned>(y.row(row) + column, cols - column);
      upstream[h] = load_part<aligned>(dy.row(row) + column, cols - column);
      for (int i = 0; i < count; ++i) {
        product = fmaf(to_float(value[h].values[i]), to_float(upstream[h].values[i]), product);
      }
    }
  }
  const float mean = block_sum(product, shared) / static_cast<float>(cols);
  const float r = rstd[row];
  for (std::int64_t round = 0; round < cols; round += step) {
#pragma unroll
    for (int h = 0; h < held; ++h) {
      const std::int64_t column = pack_column<count>(round, h);
      const std::int64_t left = cols - column;
      if (left <= 0) {
        continue;
      }
      if (cols > step) {
        value[h] = load_part<aligned>(y.row(row) + column, left);
        upstream[h] = load_part<aligned>(dy.row(row) + column, left);
      }
      T* out = dx.row(row) + column;
      const Pack16<T> old = accumulate ? load_part<aligned>(static_cast<const T*>(out), left) : Pack16<T>{};
      const Pack16<T> result = make_pack<T>([&](int i) {
        const float centred = fmaf(-to_float(value[h].values[i]), mean, to_float(upstream[h].values[i]));
        return fmaf(r, centred, to_float(old.values[i]));
      });
      store_part<aligned>(out, result, left);
      spread<aligned>(targets, result, row, column, left);
    }
  }
}

template <class T, bool adds>
void forward(Stream stream, Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y, float* rstd) {
  const RowShape shape = row_shape((a.cols + Pack16<T>::count - 1) / Pack16<T>::count);
  const auto start = [&](auto kernel) {
    launch(stream, dim3(static_cast<unsigned>(a.rows)), dim3(shape.threads), 0, kernel, a, b, eps, u, y, rstd);
  };
  const bool aligned = aligned_rows(a) && aligned_rows(y) && (!adds || (aligned_rows(b) && aligned_rows(u)));
  switch (shape.held) {
    case 1:
      return start(aligned ? norm_forward<T, 1, true, adds> : norm_forward<T, 1, false, adds>);
    case 2:
      return start(aligned ? norm_forward<T, 2, true, adds> : norm_forward<T, 2, false, adds>);
    default:
      return start(aligned ? norm_forward<T, 4, true, adds> : norm_forward<T, 4, false, adds>);
  }
}

}  // namespace

template <class T>
void rmsnorm_forward(Stream stream, Matrix<const T> x, float eps, Matrix<T> y, std::span<float> rstd) {
  forward<T, false>(stream, x, {}, eps, {}, y, rstd.data());
}

template <class T>
void add_rmsnorm_forward(Stream stream, Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y,
                         std::span<float> rstd) {
  forward<T, true>(stream, a, b, eps, u, y, rstd.data());
}

template <class T>
void rmsnorm_backward_merge(Stream stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy,
                            Matrix<T> dx, bool accumulate, std::span<const Matrix<T>> add_to,
                            std::span<const Matrix<T>> copy_to) {
  Targets<T> targets;
  bool aligned = aligned_rows(y) && aligned_rows(dy) && aligned_rows(dx);
  for (const Matrix<T>& sum : add_to) {
    targets.sums[targets.sum_count++] = sum;
    aligned = aligned && aligned_rows(sum);
  }
  for (const Matrix<T>& target : copy_to) {
    targets.copies[targets.copy_count++] = target;
    aligned = aligned && aligned_rows(target);
  }
  const RowShape shape = row_shape((y.cols + Pack16<T>::count - 1) / Pack16<T>::count);
  const auto start = [&](auto kernel) {
    launch(stream, dim3(static_cast<unsigned>(y.rows)), dim3(shape.threads), 0, kernel, y, rstd.data(), dy, dx,
           accumulate, targets);
  };
  switch (shape.held) {
    case 1:
      return start(aligned ? norm_backward<T, 1, true> : norm_backward<T, 1, false>);
    case 2:
      return start(aligned ? norm_backward<T, 2, true> : norm_backward<T, 2, false>);
    default:
      return start(aligned ? norm_backward<T, 4, true> : norm_backward<T, 4, false>);
  }
}

template <class T>
void rmsnorm_backward(Stream stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                      bool accumulate) {
  rmsnorm_backward_merge<T>(stream, y, rstd, dy, dx, accumulate, {}, {});
}

// NOLINTBEGIN(bugprone-macro-parentheses): T is a type
#define HRM_INSTANTIATE(T)                                                                                           \
  template void rmsnorm_forward(Stream, Matrix<const T>, float, Matrix<T>, std::span<float>);                        \
  template void add_rmsnorm_forward(Stream, Matrix<const T>, Matrix<const T>, float, Matrix<T>, Matrix<T>,           \
                                    std::span<float>);                                                               \
  template void rmsnorm_backward(Stream, Matrix<const T>, std::span<const float>, Matrix<const T>, Matrix<T>, bool); \
  template void rmsnorm_backward_merge(Stream, Matrix<const T>, std::span<const float>, Matrix<const T>, Matrix<T>,  \
                                       bool, std::span<const Matrix<T>>, std::span<const Matrix<T>>);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace hrm::kernels::cuda
