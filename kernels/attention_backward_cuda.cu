#include "kernels/attention_backward_cuda.hpp"

namespace hrm::kernels::cuda {
namespace attention {
namespace {

/// Lanes that share the sum of one row and head.
constexpr int sum_lanes = 8;
constexpr int sum_threads = 256;

/// sums (heads, T) = Σ_c dout out of each row and head, 0 for padding, where dq, dk, dv become 0 too. Every lane takes
/// `width` channels at a time: 16 bytes, or one where rows are not aligned.
template <class T, int width>
__global__ void row_sums_kernel(std::int64_t used, int heads, Matrix<const T> out, Matrix<const T> dout, float* sums,
                                Matrix<T> dq, Matrix<T> dk, Matrix<T> dv) {
  struct alignas(width * sizeof(T)) Word {
    T values[width];
  };
  const std::int64_t unit = (static_cast<std::int64_t>(blockIdx.x) * sum_threads + threadIdx.x) / sum_lanes;
  const std::int64_t row = unit / heads;
  const std::int64_t head = unit % heads;
  const std::int64_t head_dim = out.cols / heads;
  float sum = 0.0F;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x % sum_lanes) * width; c < head_dim && row < out.rows;
       c += sum_lanes * width) {
    const std::int64_t column = head * head_dim + c;
    if (row < used) {
      const Word a = *reinterpret_cast<const Word*>(out.row(row) + column);
      const Word b = *reinterpret_cast<const Word*>(dout.row(row) + column);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        sum = fmaf(to_float(a.values[i]), to_float(b.values[i]), sum);
      }
    } else {
      *reinterpret_cast<Word*>(dq.row(row) + column) = Word{};
      *reinterpret_cast<Word*>(dk.row(row) + column) = Word{};
      *reinterpret_cast<Word*>(dv.row(row) + column) = Word{};
    }
  }
  for (int offset = sum_lanes / 2; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(all_lanes, sum, offset);
  }
  if (threadIdx.x % sum_lanes == 0 && row < out.rows) {
    sums[head * out.rows + row] = sum;
  }
}

template <class T, int width>
void make_row_sums(Stream stream, std::int64_t used, std::int64_t heads, Matrix<const T> out, Matrix<const T> dout,
                   std::span<float> sums, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv) {
  const std::int64_t blocks = (out.rows * heads * sum_lanes + sum_threads - 1) / sum_threads;
  launch(stream, dim3(static_cast<unsigned>(blocks)), dim3(sum_threads), 0, row_sums_kernel<T, width>, used, heads, out,
         dout, sums.data(), dq, dk, dv);
}

}  // namespace
}  // namespace attention

template <class T>
void attention_backward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t used, std::int64_t heads,
                        Matrix<const T> q, Matrix<const T> k, Matrix<const T> v, Matrix<const T> out,
                        std::span<const float> lse, Matrix<const T> dout, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv,
                        std::span<float> row_sums) {
  using namespace attention;
  constexpr int width = Pack16<T>::count;
  const std::int64_t head_dim = q.cols / heads;
  const bool aligned = head_dim % width == 0 && rows_aligned(q) && rows_aligned(k) && rows_aligned(v) &&
                       rows_aligned(out) && rows_aligned(dout) && rows_aligned(dq) && rows_aligned(dk) &&
                       rows_aligned(dv);
  if (aligned) {
    make_row_sums<T, width>(stream, used, heads, out, dout, row_sums, dq, dk, dv);
  } else {
    make_row_sums<T, 1>(stream, used, heads, out, dout, row_sums, dq, dk, dv);
  }
  const Backward<T> args{tiles.data(),
                         static_cast<int>(heads),
                         score_scale(head_dim),
                         head_scale(head_dim),
                         q,
                         k,
                         v,
                         dout,
                         lse.data(),
                         row_sums.data(),
                         dq,
                         dk,
                         dv};
  if constexpr (std::is_same_v<T, bf16>) {
    if (aligned && keys_backward(stream, tiles.size(), args) && queries_backward(stream, tiles.size(), args)) {
      return;
    }
  }
  general_backward<T>(stream, tiles.size(), args);
}

template void attention_backward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t,
                                 Matrix<const float>, Matrix<const float>, Matrix<const float>, Matrix<const float>,
                                 std::span<const float>, Matrix<const float>, Matrix<float>, Matrix<float>,
                                 Matrix<float>, std::span<float>);
template void attention_backward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t, Matrix<const bf16>,
                                 Matrix<const bf16>, Matrix<const bf16>, Matrix<const bf16>, std::span<const float>,
                                 Matrix<const bf16>, Matrix<bf16>, Matrix<bf16>, Matrix<bf16>, std::span<float>);

}  // namespace hrm::kernels::cuda
