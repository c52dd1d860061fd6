#include "simt/sample_kernels.hpp"

#include "kernels/cuda_device.hpp"

namespace hrm::test {

using namespace kernels::cuda;

namespace {

__global__ void number_threads_kernel(std::int32_t* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<std::int32_t>(block * 10000 + thread);
}

__global__ void __launch_bounds__(256) sum_rows_kernel(const float* __restrict__ x, float* __restrict__ sums) {
  HRM_SHARED(float, parts, [8]);
  const float part = warp_sum(x[blockIdx.x * 256 + threadIdx.x]);
  if (threadIdx.x % 32 == 0) {
    parts[threadIdx.x / 32] = part;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0.0F;
    for (const float p : parts) {
      sum += p;
    }
    sums[blockIdx.x] = sum;
  }
}

__global__ void shuffle_lanes_kernel(const float* x, float* out) {
  const int lane = static_cast<int>(threadIdx.x);
  const float own = x[lane];
  out[lane] = __shfl_sync(all_lanes, own, 5);
  out[32 + lane] = __shfl_sync(all_lanes, own, 31 - lane);
  out[64 + lane] = __shfl_sync(all_lanes, own, 9, 8);
  out[96 + lane] = __shfl_up_sync(all_lanes, own, 3);
  out[128 + lane] = __shfl_down_sync(all_lanes, own, 3, 16);
  out[160 + lane] = __shfl_xor_sync(all_lanes, own, 1);
  if (lane < 16) {
    out[192 + lane] = __shfl_xor_sync(0x0000ffffU, own, 8);
  } else {
    out[192 + lane] = __shfl_down_sync(0xffff0000U, own, 1);
  }
  out[224 + lane] = static_cast<float>(__shfl_sync(all_lanes, static_cast<double>(own), lane ^ 2));
  out[256 + lane] = warp_max(own);
}

__global__ void vote_kernel(const float* x, unsigned* votes) {
  const bool positive = x[threadIdx.x] > 0.0F;
  const unsigned ballot = __ballot_sync(all_lanes, positive);
  const bool any = __any_sync(all_lanes, positive) != 0;
  const bool all = __all_sync(all_lanes, positive) != 0;
  const int count = __syncthreads_count(positive);
  if (threadIdx.x == 0) {
    votes[0] = ballot;
    votes[1] = any ? 1 : 0;
    votes[2] = all ? 1 : 0;
    votes[3] = static_cast<unsigned>(count);
  }
}

__global__ void multiply_tile_kernel(const bf16* a, const bf16* b, int columns, float* d) {
  HRM_SHARED(Pack16<bf16>, a_rows, [16][2]);
  HRM_SHARED(Pack16<bf16>, b_rows, [16]);
  const int lane = static_cast<int>(threadIdx.x);
  copy_async_16(&a_rows[lane / 2][lane % 2], a + lane * 8);
  copy_async_commit();
  if (lane < 16) {
    copy_async_16(&b_rows[lane], b + lane * 8, columns > 0);
  }
  copy_async_commit();
  copy_async_wait<0>();
  __syncwarp();
  std::uint32_t a_part[4];
  std::uint32_t b_all[4];
  load_matrix_x4(a_part, &a_rows[lane % 16][lane / 16]);
  load_matrix_x4_transposed(b_all, &b_rows[lane % 16]);
  const std::uint32_t b_part[2] = {b_all[0], b_all[1]};
  float sums[4] = {};
  multiply_add_16x8x16(sums, a_part, b_part);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8;
    const int column = lane % 4 * 2 + i % 2;
    d[row * 8 + column] = column < columns ? sums[i] : 0.0F;
  }
}

__global__ void reverse_pieces_kernel(const float* x, std::int64_t pieces, float* y) {
  HRM_DYNAMIC_SHARED(float, buffers);
  const int t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](std::int64_t piece) {
    if (t < 32) {
      copy_async_16(buffers + piece % 2 * 128 + t * 4, x + piece * 128 + t * 4);
    }
    copy_async_commit();
  };
  fetch(0);
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    if (piece + 1 < pieces) {
      fetch(piece + 1);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();
    y[piece * 128 + t] = buffers[piece % 2 * 128 + 127 - t];
    __syncthreads();
  }
}

}  // namespace

void number_threads(Stream stream, const unsigned (&grid)[3], const unsigned (&block)[3], std::int32_t* out) {
  launch(stream, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, 0, number_threads_kernel, out);
}

void sum_rows(Stream stream, const float* x, std::int64_t rows, float* sums) {
  launch(stream, static_cast<unsigned>(rows), 256, 0, sum_rows_kernel, x, sums);
}

void shuffle_lanes(Stream stream, const float* x, float* out) {
  launch(stream, 1, 32, 0, shuffle_lanes_kernel, x, out);
}

void vote(Stream stream, const float* x, unsigned* votes) {
  launch(stream, 1, 96, 0, vote_kernel, x, votes);
}

void multiply_tile(Stream stream, const bf16* a, const bf16* b, int columns, float* d) {
  launch(stream, 1, 32, 0, multiply_tile_kernel, a, b, columns, d);
}

void reverse_pieces(Stream stream, const float* x, std::int64_t pieces, float* y) {
  launch(stream, 1, 128, 2 * 128 * sizeof(float), reverse_pieces_kernel, x, pieces, y);
}

}  // namespace hrm::test
