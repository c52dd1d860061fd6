#include "kernels/rope.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr std::int64_t rope_threads = 256;

/// One block per row; threadIdx.x goes over the packs of half a head, threadIdx.y over the heads, so that a thread
/// reads its angles once for all of its heads.
template <class T, bool aligned>
__global__ void __launch_bounds__(rope_threads)
    rotate(RopeAngles angles, const std::int32_t* position_ids, float direction, Matrix<T> x) {
  constexpr int count = Pack16<T>::count;
  const std::int64_t row = blockIdx.x;
  const std::int64_t half = angles.half;
  for (std::int64_t j = static_cast<std::int64_t>(threadIdx.x) * count; j < half; j += blockDim.x * count) {
    const std::int64_t left = half - j;
    const auto low_of = [&](std::int64_t head) { return x.row(row) + head * 2 * half + j; };
    std::int64_t head = threadIdx.y;
    // On their way before the angles, which wait for the position.
    Pack16<T> a = load_part<aligned>(static_cast<const T*>(low_of(head)), left);
    Pack16<T> b = load_part<aligned>(static_cast<const T*>(low_of(head) + half), left);
    const std::int64_t angle = position_ids[row] * half + j;
    const FloatsOf<T> c = load_floats<aligned, T>(angles.cos + angle, left);
    const FloatsOf<T> s = load_floats<aligned, T>(angles.sin + angle, left);
    while (true) {
      const auto rotated_low = [&](int i) {
        return fmaf(-to_float(b.values[i]), direction * s[i], to_float(a.values[i]) * c[i]);
      };
      const auto rotated_high = [&](int i) {
        return fmaf(to_float(a.values[i]), direction * s[i], to_float(b.values[i]) * c[i]);
      };
      store_part<aligned>(low_of(head), make_pack<T>(rotated_low), left);
      store_part<aligned>(low_of(head) + half, make_pack<T>(rotated_high), left);
      head += blockDim.y;
      if (head * 2 * half >= x.cols) {
        break;
      }
      a = load_part<aligned>(static_cast<const T*>(low_of(head)), left);
      b = load_part<aligned>(static_cast<const T*>(low_of(head) + half), left);
    }
  }
}

}  // namespace

template <class T>
void rope(Stream stream, RopeAngles angles, std::span<const std::int32_t> position_ids, float direction, Matrix<T> x) {
  constexpr std::int64_t count = Pack16<T>::count;
  const std::int64_t heads = x.cols / (2 * angles.half);
  const std::int64_t across = std::min<std::int64_t>((angles.half + count - 1) / count, warp_lanes);
  const std::int64_t rounds = (heads * across + rope_threads - 1) / rope_threads;
  const dim3 block(static_cast<unsigned>(across), static_cast<unsigned>((heads + rounds - 1) / rounds));
  const bool aligned = aligned_rows(x) && angles.half % count == 0 && rows_aligned(angles.cos, angles.half) &&
                       rows_aligned(angles.sin, angles.half);
  launch(stream, dim3(static_cast<unsigned>(x.rows)), block, 0, aligned ? rotate<T, true> : rotate<T, false>, angles,
         position_ids.data(), direction, x);
}

template void rope(Stream, RopeAngles, std::span<const std::int32_t>, float, Matrix<float>);
template void rope(Stream, RopeAngles, std::span<const std::int32_t>, float, Matrix<bf16>);

}  // namespace hrm::kernels::cuda
