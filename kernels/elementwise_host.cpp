#include "kernels/elementwise.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void add_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> out) {
  for_rows(a.rows, a.cols, [&](std::int64_t row) {
    for_lanes(a.cols, [&](std::int64_t i, auto count) {
      store(hn::Add(load(a.row(row) + i, count), load(b.row(row) + i, count)), out.row(row) + i, count);
    });
  });
}

template <class T>
void convert(std::span<const float> from, std::span<T> to) {
  for_pieces(static_cast<std::int64_t>(from.size()), [&](std::int64_t first, std::int64_t n) {
    for_lanes(n, [&](std::int64_t i, auto count) {
      store(load(from.data() + first + i, count), to.data() + first + i, count);
    });
  });
}

void add_to(std::span<float> a, std::span<const float> b) {
  for_pieces(static_cast<std::int64_t>(a.size()), [&](std::int64_t first, std::int64_t n) {
    float* sum = a.data() + first;
    for_lanes(n, [&](std::int64_t i, auto count) {
      store(hn::Add(load(sum + i, count), load(b.data() + first + i, count)), sum + i, count);
    });
  });
}

template <class T>
void sum_rows(std::span<const Matrix<const T>> parts, Matrix<T> out, bool accumulate) {
  for_rows(out.rows, out.cols, [&](std::int64_t row) {
    for_lanes(out.cols, [&](std::int64_t i, auto count) {
      FloatVec sum = load(parts[0].row(row) + i, count);
      for (std::size_t p = 1; p < parts.size(); ++p) {
        sum = hn::Add(sum, load(parts[p].row(row) + i, count));
      }
      T* target = out.row(row) + i;
      store(accumulate ? hn::Add(load(target, count), sum) : sum, target, count);
    });
  });
}

/// Σ x² in 16 interleaved double sums, combined as a binary tree: the same bits on every instruction set, because
/// squares of float32 are exact in double.
double square_sum(std::span<const float> x) {
  constexpr std::size_t ways = 16;
  std::array<double, ways> sums{};
  std::size_t i = 0;
  for (; i + ways <= x.size(); i += ways) {
    for (std::size_t j = 0; j < ways; ++j) {
      const auto value = static_cast<double>(x[i + j]);
      sums[j] += value * value;
    }
  }
  for (std::size_t j = 0; i + j < x.size(); ++j) {
    const auto value = static_cast<double>(x[i + j]);
    sums[j] += value * value;
  }
  for (std::size_t width = ways / 2; width > 0; width /= 2) {
    for (std::size_t j = 0; j < width; ++j) {
      sums[j] += sums[j + width];
    }
  }
  return sums[0];
}

void square_sums(std::span<const float> x, std::int64_t block, std::span<double> sums) {
  const auto step = static_cast<std::size_t>(block);
  for_rows(static_cast<std::int64_t>(sums.size()), block, [&](std::int64_t i) {
    const std::size_t first = static_cast<std::size_t>(i) * step;
    sums[static_cast<std::size_t>(i)] = square_sum(x.subspan(first, std::min(step, x.size() - first)));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

namespace {

template <class T>
void copy_row(const T* from, std::int64_t n, T* to) {
  std::copy(from, from + n, to);
}

}  // namespace

template <class T>
void add(Stream stream, Matrix<const T> a, Matrix<const T> b, Matrix<T> out) {
  HRM_CUDA_DISPATCH(stream, add<T>(stream, a, b, out));
  HRM_DISPATCH(add_rows<T>(a, b, out));
}

template <class T>
void add_row(Stream stream, Matrix<const T> a, std::span<const T> row, Matrix<T> out) {
  add(stream, a, Matrix<const T>(row.data(), a.rows, a.cols, 0), out);
}

template <class T>
void fill_rows(Stream stream, std::span<const T> row, Matrix<T> out) {
  copy(stream, Matrix<const T>(row.data(), out.rows, out.cols, 0), out);
}

template <class T>
void copy(Stream stream, Matrix<const T> from, Matrix<T> to) {
  HRM_CUDA_DISPATCH(stream, copy<T>(stream, from, to));
#pragma omp parallel for schedule(static)
  for (std::int64_t r = 0; r < from.rows; ++r) {
    copy_row(from.row(r), from.cols, to.row(r));
  }
}

template <class T>
void gather_rows(Stream stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out) {
  HRM_CUDA_DISPATCH(stream, gather_rows<T>(stream, x, rows, out));
  const auto used = static_cast<std::int64_t>(rows.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t r = 0; r < out.rows; ++r) {
    if (r < used) {
      copy_row(x.row(rows[static_cast<std::size_t>(r)]), out.cols, out.row(r));
    } else {
      std::fill_n(out.row(r), out.cols, T{});
    }
  }
}

template <class T>
void scatter_rows(Stream stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out) {
  HRM_CUDA_DISPATCH(stream, scatter_rows<T>(stream, x, rows, out));
  const auto used = static_cast<std::int64_t>(rows.size());
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (std::int64_t r = 0; r < out.rows; ++r) {
      std::fill_n(out.row(r), out.cols, T{});
    }
#pragma omp for schedule(static)
    for (std::int64_t r = 0; r < used; ++r) {
      copy_row(x.row(r), out.cols, out.row(rows[static_cast<std::size_t>(r)]));
    }
  }
}

void tree_add(Stream stream, std::span<float> a, std::span<const float> b) {
  HRM_CUDA_DISPATCH(stream, tree_add(stream, a, b));
  HRM_DISPATCH(add_to(a, b));
}

template <class T>
void sum_parts(Stream stream, std::span<const Matrix<const T>> parts, Matrix<T> out, bool accumulate) {
  ensure(!parts.empty() && parts.size() <= most_parts, "sum_parts takes 1 to 16 parts");
  HRM_CUDA_DISPATCH(stream, sum_parts<T>(stream, parts, out, accumulate));
  HRM_DISPATCH(sum_rows<T>(parts, out, accumulate));
}

template <class T>
void cast(Stream stream, std::span<const float> from, std::span<T> to) {
  HRM_CUDA_DISPATCH(stream, cast<T>(stream, from, to));
  HRM_DISPATCH(convert<T>(from, to));
}

void block_square_sums(Stream stream, std::span<const float> x, std::int64_t block, std::span<double> sums) {
  HRM_CUDA_DISPATCH(stream, block_square_sums(stream, x, block, sums));
  HRM_DISPATCH(square_sums(x, block, sums));
}

void zero(Stream stream, std::span<float> x) {
  HRM_CUDA_DISPATCH(stream, zero(stream, x));
  const auto n = static_cast<std::int64_t>(x.size());
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < n; ++i) {
    x.data()[i] = 0.0F;
  }
}

template void add(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>);
template void add_row(Stream, Matrix<const float>, std::span<const float>, Matrix<float>);
template void fill_rows(Stream, std::span<const float>, Matrix<float>);
template void copy(Stream, Matrix<const float>, Matrix<float>);
template void gather_rows(Stream, Matrix<const float>, std::span<const std::int32_t>, Matrix<float>);
template void scatter_rows(Stream, Matrix<const float>, std::span<const std::int32_t>, Matrix<float>);
template void sum_parts(Stream, std::span<const Matrix<const float>>, Matrix<float>, bool);
template void sum_parts(Stream, std::span<const Matrix<const bf16>>, Matrix<bf16>, bool);
template void cast(Stream, std::span<const float>, std::span<float>);
template void add(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>);
template void add_row(Stream, Matrix<const bf16>, std::span<const bf16>, Matrix<bf16>);
template void fill_rows(Stream, std::span<const bf16>, Matrix<bf16>);
template void copy(Stream, Matrix<const bf16>, Matrix<bf16>);
template void gather_rows(Stream, Matrix<const bf16>, std::span<const std::int32_t>, Matrix<bf16>);
template void scatter_rows(Stream, Matrix<const bf16>, std::span<const std::int32_t>, Matrix<bf16>);
template void cast(Stream, std::span<const float>, std::span<bf16>);

}  // namespace hrm::kernels
#endif
