#include "kernels/elementwise.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

template <class T>
struct Add {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> a;
  Matrix<const T> b;
  Matrix<T> out;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const Pack16<T> x = load_part<aligned>(a.row(row) + column, left);
    const Pack16<T> y = load_part<aligned>(b.row(row) + column, left);
    const auto sum = [&](int i) { return to_float(x.values[i]) + to_float(y.values[i]); };
    store_part<aligned>(out.row(row) + column, make_pack<T>(sum), left);
  }
};

template <class T>
struct Copy {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> from;
  Matrix<T> to;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    store_part<aligned>(to.row(row) + column, load_part<aligned>(from.row(row) + column, left), left);
  }
};

template <class T>
struct Zero {
  static constexpr int count = Pack16<T>::count;
  Matrix<T> to;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    store_part<aligned>(to.row(row) + column, Pack16<T>{}, left);
  }
};

template <class T>
struct Gather {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> x;
  const std::int32_t* rows;
  std::int64_t used;
  Matrix<T> out;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const Pack16<T> pack = row < used ? load_part<aligned>(x.row(rows[row]) + column, left) : Pack16<T>{};
    store_part<aligned>(out.row(row) + column, pack, left);
  }
};

template <class T>
struct Scatter {
  static constexpr int count = Pack16<T>::count;
  Matrix<const T> x;
  const std::int32_t* rows;
  Matrix<T> out;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    store_part<aligned>(out.row(rows[row]) + column, load_part<aligned>(x.row(row) + column, left), left);
  }
};

template <class T>
struct Sum {
  static constexpr int count = Pack16<T>::count;
  const T* parts[most_parts];
  std::int64_t strides[most_parts];
  int size;
  Matrix<T> out;
  bool accumulate;

  template <bool aligned>
  __device__ void apply(std::int64_t row, std::int64_t column, std::int64_t left) const {
    const Pack16<T> first = load_part<aligned>(parts[0] + row * strides[0] + column, left);
    FloatsOf<T> sum;
    for (int i = 0; i < count; ++i) {
      sum[i] = to_float(first.values[i]);
    }
    for (int p = 1; p < size; ++p) {
      add_to(sum, load_part<aligned>(parts[p] + row * strides[p] + column, left));
    }
    T* target = out.row(row) + column;
    if (accumulate) {
      add_to(sum, load_part<aligned>(static_cast<const T*>(target), left));
    }
    store_part<aligned>(target, make_pack<T>([&](int i) { return sum[i]; }), left);
  }

  static __device__ __forceinline__ void add_to(FloatsOf<T>& sum, const Pack16<T>& pack) {
    for (int i = 0; i < count; ++i) {
      sum[i] += to_float(pack.values[i]);
    }
  }
};

template <class T>
struct Cast {
  static constexpr int count = Pack16<T>::count;
  const float* from;
  T* to;

  template <bool aligned>
  __device__ void apply(std::int64_t, std::int64_t column, std::int64_t left) const {
    const FloatsOf<T> x = load_floats<aligned, T>(from + column, left);
    store_part<aligned>(to + column, make_pack<T>([&](int i) { return x[i]; }), left);
  }
};

constexpr int square_ways = 16;  // interleaved sums, as on the host
constexpr int square_threads = 256;

/// square_ways threads per block of x: thread j sums elements j, j + square_ways, …; a binary tree adds them up. The
/// same sums in the same order as on the host, hence the same bits.
__global__ void __launch_bounds__(square_threads)
    sum_squares(const float* x, std::int64_t size, std::int64_t block, double* sums, std::int64_t blocks) {
  const std::int64_t which = static_cast<std::int64_t>(blockIdx.x) * (square_threads / square_ways) +
                             static_cast<std::int64_t>(threadIdx.x / square_ways);
  const std::int64_t last = which + 1 < blocks ? (which + 1) * block : size;
  double sum = 0;
  if (which < blocks) {
    for (std::int64_t i = which * block + threadIdx.x % square_ways; i < last; i += square_ways) {
      const auto value = static_cast<double>(x[i]);
      sum += value * value;  // exact: with fma or without
    }
  }
  for (int offset = square_ways / 2; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(all_lanes, sum, offset);
  }
  if (which < blocks && threadIdx.x % square_ways == 0) {
    sums[which] = sum;
  }
}

/// A span as a matrix of one row.
template <class T>
Matrix<T> flat(std::span<T> x) {
  return {x.data(), 1, static_cast<std::int64_t>(x.size()), 0};
}

}  // namespace

template <class T>
void add(Stream stream, Matrix<const T> a, Matrix<const T> b, Matrix<T> out) {
  map(stream, Add<T>{a, b, out}, out.rows, out.cols, aligned_rows(a) && aligned_rows(b) && aligned_rows(out));
}

template <class T>
void copy(Stream stream, Matrix<const T> from, Matrix<T> to) {
  map(stream, Copy<T>{from, to}, from.rows, from.cols, aligned_rows(from) && aligned_rows(to));
}

template <class T>
void gather_rows(Stream stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out) {
  map(stream, Gather<T>{x, rows.data(), static_cast<std::int64_t>(rows.size()), out}, out.rows, out.cols,
      aligned_rows(x) && aligned_rows(out));
}

template <class T>
void scatter_rows(Stream stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out) {
  map(stream, Zero<T>{out}, out.rows, out.cols, aligned_rows(out));
  map(stream, Scatter<T>{x, rows.data(), out}, static_cast<std::int64_t>(rows.size()), out.cols,
      aligned_rows(x) && aligned_rows(out));
}

void tree_add(Stream stream, std::span<float> a, std::span<const float> b) {
  add<float>(stream, flat<const float>(a), flat(b), flat(a));
}

template <class T>
void sum_parts(Stream stream, std::span<const Matrix<const T>> parts, Matrix<T> out, bool accumulate) {
  Sum<T> sum{{}, {}, static_cast<int>(parts.size()), out, accumulate};
  bool aligned = aligned_rows(out);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    sum.parts[p] = parts[p].data;
    sum.strides[p] = parts[p].stride;
    aligned = aligned && aligned_rows(parts[p]);
  }
  map(stream, sum, out.rows, out.cols, aligned);
}

template <class T>
void cast(Stream stream, std::span<const float> from, std::span<T> to) {
  map(stream, Cast<T>{from.data(), to.data()}, 1, static_cast<std::int64_t>(from.size()),
      rows_aligned(from.data(), 0) && rows_aligned(to.data(), 0));
}

void block_square_sums(Stream stream, std::span<const float> x, std::int64_t block, std::span<double> sums) {
  constexpr std::size_t per_block = square_threads / square_ways;
  launch(stream, dim3(static_cast<unsigned>((sums.size() + per_block - 1) / per_block)), dim3(square_threads), 0,
         sum_squares, x.data(), static_cast<std::int64_t>(x.size()), block, sums.data(),
         static_cast<std::int64_t>(sums.size()));
}

void zero(Stream stream, std::span<float> x) {
  map(stream, Zero<float>{flat(x)}, 1, static_cast<std::int64_t>(x.size()), rows_aligned(x.data(), 0));
}

#define HRM_INSTANTIATE(T)                                                                       \
  template void add(Stream, Matrix<const T>, Matrix<const T>, Matrix<T>);                        \
  template void copy(Stream, Matrix<const T>, Matrix<T>);                                        \
  template void gather_rows(Stream, Matrix<const T>, std::span<const std::int32_t>, Matrix<T>);  \
  template void scatter_rows(Stream, Matrix<const T>, std::span<const std::int32_t>, Matrix<T>); \
  template void sum_parts(Stream, std::span<const Matrix<const T>>, Matrix<T>, bool);            \
  template void cast(Stream, std::span<const float>, std::span<T>);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::kernels::cuda
