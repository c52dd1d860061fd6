#include "kernels/cross_entropy.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr std::int64_t entropy_threads = 512;

unsigned threads_for(std::int64_t cols) {
  return warps_of(std::clamp<std::int64_t>((cols + 7) / 8, 1, entropy_threads));
}

__device__ __forceinline__ double log_probability(const EntropyPart& whole) {
  return static_cast<double>(whole.label_logit) - static_cast<double>(whole.maximum) - log(whole.exp_sum);
}

/// One thread's share of a row of logits.
struct Running {
  Place best = no_place();
  float exp_sum = 0;  // Σ exp(x - best.value)
};

/// Adds a pack whose first column is `column`; columns that do not exist are -infinity.
__device__ __forceinline__ void add_pack(Running& running, const Pack16<float>& pack, std::int64_t column) {
  Place best = running.best;
  for (int i = 0; i < Pack16<float>::count; ++i) {
    if (pack.values[i] > best.value) {
      best = {pack.values[i], static_cast<std::int32_t>(column + i)};
    }
  }
  if (best.value > running.best.value) {
    running.exp_sum *= expf(running.best.value - best.value);
    running.best = best;
  }
  for (int i = 0; i < Pack16<float>::count; ++i) {
    running.exp_sum += expf(pack.values[i] - best.value);
  }
}

/// What block_part shares between its threads.
struct PartShared {
  Place best[warp_lanes];
  double sums[warp_lanes];
};

/// The part of columns x (n) whose first is token `first`, by a block that reads them once; the same in every thread.
template <bool aligned>
__device__ __forceinline__ EntropyPart block_part(const float* x, std::int64_t n, std::int64_t label,
                                                  std::int64_t first, PartShared* shared) {
  constexpr int count = Pack16<float>::count;
  Running running;
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * count; column < n;
       column += static_cast<std::int64_t>(blockDim.x) * count) {
    add_pack(running, load_part<aligned>(x + column, n - column, -std::numeric_limits<float>::infinity()), column);
  }
  const Place best = block_best(running.best, shared->best);
  const double weight = exp(static_cast<double>(running.best.value) - static_cast<double>(best.value));
  EntropyPart part;
  part.maximum = best.value;
  part.exp_sum = block_sum(static_cast<double>(running.exp_sum) * weight, shared->sums);
  const std::int64_t column = label - first;
  part.label_logit = column >= 0 && column < n ? x[column] : 0.0F;
  part.argmax = static_cast<std::int32_t>(first + (best.index == no_place().index ? 0 : best.index));
  return part;
}

/// dlogits of columns x (n); `label` is the label's, outside [0, n) where it lies in another shard.
template <class T, bool aligned>
__device__ __forceinline__ void block_gradient(const float* x, std::int64_t n, std::int64_t label,
                                               const EntropyPart& whole, float gradient_scale, T* out) {
  constexpr int count = Pack16<T>::count;
  const auto scale = static_cast<float>(static_cast<double>(gradient_scale) / whole.exp_sum);
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * count; column < n;
       column += static_cast<std::int64_t>(blockDim.x) * count) {
    const FloatsOf<T> logits = load_floats<aligned, T>(x + column, n - column);
    Pack16<T> pack = make_pack<T>([&](int i) { return expf(logits[i] - whole.maximum) * scale; });
    if (label >= column && label < column + count) {
      // expm1: p - 1 without cancellation where the label is nearly certain.
      const auto value = static_cast<float>(expm1(log_probability(whole)) * static_cast<double>(gradient_scale));
      for (int i = 0; i < count; ++i) {
        pack.values[i] = column + i == label ? from_float<T>(value) : pack.values[i];
      }
    }
    store_part<aligned>(out + column, pack, n - column);
  }
}

template <class T, bool aligned>
__device__ __forceinline__ void block_zero(std::int64_t n, T* out) {
  constexpr int count = Pack16<T>::count;
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * count; column < n;
       column += static_cast<std::int64_t>(blockDim.x) * count) {
    store_part<aligned>(out + column, Pack16<T>{}, n - column);
  }
}

template <class T, bool aligned>
__global__ void __launch_bounds__(entropy_threads)
    entropy_rows(Matrix<const float> logits, const std::int32_t* labels, float gradient_scale, Matrix<T> dlogits,
                 float* loss, std::int32_t* argmax) {
  HRM_SHARED(PartShared, shared);
  const std::int64_t row = blockIdx.x;
  const std::int32_t label = labels[row];
  EntropyPart whole;
  if (label < 0) {
    block_zero<T, aligned>(logits.cols, dlogits.row(row));
  } else {
    whole = block_part<aligned>(logits.row(row), logits.cols, label, 0, &shared);
    block_gradient<T, aligned>(logits.row(row), logits.cols, label, whole, gradient_scale, dlogits.row(row));
  }
  if (threadIdx.x == 0) {
    loss[row] = label < 0 ? 0.0F : static_cast<float>(-log_probability(whole));
    argmax[row] = whole.argmax;
  }
}

template <bool aligned>
__global__ void __launch_bounds__(entropy_threads)
    entropy_parts(Matrix<const float> logits, const std::int32_t* labels, std::int32_t first, EntropyPart* parts) {
  HRM_SHARED(PartShared, shared);
  const std::int64_t row = blockIdx.x;
  EntropyPart part;
  if (labels[row] >= 0) {
    part = block_part<aligned>(logits.row(row), logits.cols, labels[row], first, &shared);
  }
  if (threadIdx.x == 0) {
    parts[row] = part;
  }
}

template <class T, bool aligned>
__global__ void __launch_bounds__(entropy_threads)
    entropy_gradient(Matrix<const float> logits, const std::int32_t* labels, std::int32_t first,
                     const EntropyPart* whole, float gradient_scale, Matrix<T> dlogits) {
  const std::int64_t row = blockIdx.x;
  if (labels[row] < 0) {
    block_zero<T, aligned>(logits.cols, dlogits.row(row));
  } else {
    block_gradient<T, aligned>(logits.row(row), logits.cols, static_cast<std::int64_t>(labels[row]) - first, whole[row],
                               gradient_scale, dlogits.row(row));
  }
}

constexpr unsigned join_threads = 128;

/// One thread per row. Of two shards, the one with the lower tokens has a tie in the maximum.
__global__ void __launch_bounds__(join_threads)
    join_parts(EntropyPart* parts, std::int64_t count, const std::int32_t* labels, std::int64_t rows, float* loss,
               std::int32_t* argmax) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) {
    return;
  }
  if (labels[row] < 0) {
    loss[row] = 0;
    argmax[row] = -1;
    return;
  }
  EntropyPart whole = parts[row];
#pragma unroll 1
  for (std::int64_t p = row + rows; p < count; p += rows) {
    const EntropyPart next = parts[p];
    const bool higher = next.maximum > whole.maximum;
    const double maximum = static_cast<double>(higher ? next.maximum : whole.maximum);
    const double shrink = exp(static_cast<double>(higher ? whole.maximum : next.maximum) - maximum);
    whole.exp_sum = higher ? whole.exp_sum * shrink + next.exp_sum : whole.exp_sum + next.exp_sum * shrink;
    whole.label_logit += next.label_logit;
    whole.maximum = higher ? next.maximum : whole.maximum;
    whole.argmax = higher ? next.argmax : whole.argmax;
  }
  parts[row] = whole;
  loss[row] = static_cast<float>(-log_probability(whole));
  argmax[row] = whole.argmax;
}

}  // namespace

template <class T>
void cross_entropy(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                   float gradient_scale, Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax) {
  const bool aligned = aligned_rows(logits) && aligned_rows(dlogits);
  launch(stream, dim3(static_cast<unsigned>(logits.rows)), dim3(threads_for(logits.cols)), 0,
         aligned ? entropy_rows<T, true> : entropy_rows<T, false>, logits, labels.data(), gradient_scale, dlogits,
         loss.data(), argmax.data());
}

void cross_entropy_parts(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                         std::int32_t first, std::span<EntropyPart> parts) {
  launch(stream, dim3(static_cast<unsigned>(logits.rows)), dim3(threads_for(logits.cols)), 0,
         aligned_rows(logits) ? entropy_parts<true> : entropy_parts<false>, logits, labels.data(), first, parts.data());
}

void cross_entropy_join(Stream stream, std::span<EntropyPart> parts, std::span<const std::int32_t> labels,
                        std::span<float> loss, std::span<std::int32_t> argmax) {
  const auto rows = static_cast<std::int64_t>(labels.size());
  launch(stream, dim3(static_cast<unsigned>((rows + join_threads - 1) / join_threads)), dim3(join_threads), 0,
         join_parts, parts.data(), static_cast<std::int64_t>(parts.size()), labels.data(), rows, loss.data(),
         argmax.data());
}

template <class T>
void cross_entropy_gradient(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                            std::int32_t first, std::span<const EntropyPart> whole, float gradient_scale,
                            Matrix<T> dlogits) {
  const bool aligned = aligned_rows(logits) && aligned_rows(dlogits);
  launch(stream, dim3(static_cast<unsigned>(logits.rows)), dim3(threads_for(logits.cols)), 0,
         aligned ? entropy_gradient<T, true> : entropy_gradient<T, false>, logits, labels.data(), first, whole.data(),
         gradient_scale, dlogits);
}

#define HRM_INSTANTIATE(T)                                                                                       \
  template void cross_entropy(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<T>,      \
                              std::span<float>, std::span<std::int32_t>);                                        \
  template void cross_entropy_gradient(Stream, Matrix<const float>, std::span<const std::int32_t>, std::int32_t, \
                                       std::span<const EntropyPart>, float, Matrix<T>);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::kernels::cuda
