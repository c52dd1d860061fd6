#include "simt/faulty_kernels.hpp"

#include "kernels/cuda_device.hpp"

namespace hrm::test {

using namespace kernels::cuda;

namespace {

__global__ void meet_wrongly(Fault fault, const float* x, float* y) {
  const unsigned t = threadIdx.x;
  const unsigned lane = t % 32;
  float value = x[t];
  if (fault == Fault::barrier_in_part_of_block && t < 64) {
    __syncthreads();
  }
  if (fault == Fault::barrier_in_place_of_shuffle) {
    if (lane < 16) {
      __syncthreads();
    } else {
      value = __shfl_xor_sync(all_lanes, value, 1);
    }
  }
  if (fault == Fault::two_barriers) {
    if (t < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  if (fault == Fault::shuffle_of_ended_lane) {
    if (lane == 7) {
      return;
    }
    value = __shfl_xor_sync(all_lanes, value, 1);
  }
  if (fault == Fault::shuffle_from_outside_the_mask) {
    value = __shfl_xor_sync(0x0000ffffU, value, 1);
  }
  if (fault == Fault::shuffle_of_lane_outside_the_mask && lane < 16) {
    value = __shfl_xor_sync(0x0000ffffU, value, 16);
  }
  if (fault == Fault::two_shuffles) {
    if (lane % 2 == 0) {
      value = __shfl_xor_sync(all_lanes, value, 1);
    } else {
      value = __shfl_xor_sync(all_lanes, value, 1);
    }
  }
  y[t] = value;
}

__global__ void misalign(Fault fault, const float* x, float* y) {
  HRM_SHARED(Pack16<float>, rows, [32]);
  HRM_DYNAMIC_SHARED(float, buffer);
  auto* bytes = reinterpret_cast<char*>(&rows[threadIdx.x / 4]);
  if (fault == Fault::copy_to_unaligned_shared) {
    copy_async_16(bytes + 4, x);
  }
  if (fault == Fault::copy_from_unaligned_global) {
    copy_async_16(bytes, x + 1);
  }
  if (fault == Fault::copy_to_global) {
    copy_async_16(y, x);
  }
  if (fault == Fault::matrix_from_unaligned_shared) {
    std::uint32_t parts[4];
    load_matrix_x4(parts, bytes + 8);
    y[threadIdx.x] = static_cast<float>(parts[0]);
  }
  copy_async_commit();
  copy_async_wait<0>();
  buffer[0] = 0.0F;
}

__global__ void order_wrongly(Fault fault, const float* x, float* y) {
  HRM_SHARED(float, buffer, [128]);
  HRM_SHARED(Pack16<float>, packs, [2][32]);
  const int t = static_cast<int>(threadIdx.x);
  if (fault == Fault::missing_barrier || fault == Fault::missing_barrier_that_order_hides) {
    buffer[t] = x[t];
    const int other = fault == Fault::missing_barrier ? 127 - t : max(t - 1, 0);
    y[t] = buffer[other];
  }
  if (fault == Fault::missing_copy_wait || fault == Fault::weak_copy_wait) {
    for (int half = 0; half < 2; ++half) {
      if (t / 16 == half) {
        copy_async_16(&packs[0][t], x + t * 4);
      }
      copy_async_commit();
    }
    if (fault == Fault::weak_copy_wait) {
      copy_async_wait<1>();
    }
    __syncthreads();
    y[t] = packs[0][t / 4].values[t % 4];
  }
  if (fault == Fault::missing_warp_barrier && t < 32) {
    volatile float* sums = buffer;
    sums[t] = x[t];
    for (int half = 16; half > 0; half /= 2) {
      if (t < half) {
        sums[t] = sums[t] + sums[t + half];
      }
    }
    y[t] = sums[0];
  }
  if (fault == Fault::shuffle_as_barrier) {
    buffer[t] = x[t];
    const float other = __shfl_xor_sync(all_lanes, x[t], 1);
    y[t] = other - buffer[t ^ 1];
  }
}

__global__ void run_over(Fault fault, const float* x, float* y, int beyond) {
  HRM_SHARED(float, small, [96]);
  HRM_DYNAMIC_SHARED(float, buffer);
  const int t = static_cast<int>(threadIdx.x);
  small[t % 96] = x[t];
  buffer[t] = x[t];
  __syncthreads();
  if (fault == Fault::beyond_static_shared) {
    const float* first = small;
    y[t] = first[95 + beyond];
  }
  if (fault == Fault::beyond_dynamic_shared) {
    y[t] = buffer[127 + beyond];
  }
  if (fault == Fault::beyond_global) {
    y[t] = x[127 + beyond];
  }
  if (fault == Fault::unaligned_vector) {
    y[t] = load_16(x + beyond % 4).values[0];
  }
}

__global__ void reverse_pieces_racing(const float* x, int pieces, float* y) {
  HRM_DYNAMIC_SHARED(float, buffers);
  const int t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int piece) {
    if (t < 32) {
      copy_async_16(buffers + piece % 2 * 128 + t * 4, x + piece * 128 + t * 4);
    }
    copy_async_commit();
  };
  fetch(0);
  for (int piece = 0; piece < pieces; ++piece) {
    if (piece + 1 < pieces) {
      fetch(piece + 1);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();
    y[piece * 128 + t] = buffers[piece % 2 * 128 + 127 - t];
  }
}

}  // namespace

void run_faulty(Stream stream, Fault fault, const float* x, float* y) {
  constexpr std::size_t kib = 1024;
  if (fault <= Fault::two_shuffles) {
    launch(stream, 1, 128, 0, meet_wrongly, fault, x, y);
  } else if (fault == Fault::too_many_threads) {
    launch(stream, 1, {32, 33}, 0, meet_wrongly, fault, x, y);
  } else if (fault == Fault::no_threads) {
    launch(stream, 1, 0, 0, meet_wrongly, fault, x, y);
  } else if (fault == Fault::too_many_blocks) {
    launch(stream, {1, 65536}, 128, 0, meet_wrongly, fault, x, y);
  } else if (fault == Fault::too_much_dynamic_shared) {
    launch(stream, 1, 128, 228 * kib, misalign, fault, x, y);
  } else if (fault == Fault::too_much_shared) {
    launch(stream, 1, 128, 227 * kib, misalign, fault, x, y);
  } else if (fault <= Fault::matrix_from_unaligned_shared) {
    launch(stream, 1, 128, 16, misalign, fault, x, y);
  } else if (fault <= Fault::shuffle_as_barrier) {
    launch(stream, 1, 128, 0, order_wrongly, fault, x, y);
  } else {
    launch(stream, 1, 128, 128 * sizeof(float), run_over, fault, x, y, 1);
  }
}

void reverse_pieces_without_second_barrier(Stream stream, const float* x, int pieces, float* y) {
  launch(stream, 1, 128, 2 * 128 * sizeof(float), reverse_pieces_racing, x, pieces, y);
}

}  // namespace hrm::test
