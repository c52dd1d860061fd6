#pragma once
// What the kernels use of CUDA. The same .cu source is compiled by nvcc for a GPU and, with HRM_SIMT, by the host
// compiler over the shim of tests/simt, which runs it on the CPU. So kernels keep CUDA's own words (__global__,
// threadIdx, __syncthreads, __shfl_xor_sync, …), and only what has no plain C++ form has a name of ours: shared memory,
// asynchronous copies, tensor-core instructions, launches.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "kernels/cuda_check.hpp"

#ifndef HRM_SIMT
/// Static shared memory: HRM_SHARED(float, sums, [32]); the brackets may be left out for a scalar.
#define HRM_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
/// Dynamic shared memory of the launch, aligned to 128 bytes, as a pointer to `type`.
#define HRM_DYNAMIC_SHARED(type, name)                                 \
  extern __shared__ __align__(128) unsigned char hrm_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(hrm_dynamic_shared)

namespace hrm::kernels::cuda {

/// 16 bytes from global to shared memory, both aligned to 16, past the registers (cp.async.cg). With valid = false the
/// 16 bytes become zero and nothing is read.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid = true) {
  const auto target = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(bytes) : "memory");
}
/// Closes the group of this thread's copies issued since the last commit.
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most the `pending` youngest groups of this thread are under way.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane l gives the address of row l % 8 of matrix l / 8
/// (aligned to 16); lane l gets elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of matrix i in out[i].
__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
/// The same with every 8 x 8 matrix transposed.
__device__ __forceinline__ void load_matrix_x4_transposed(std::uint32_t (&out)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// d (16, 8) += a (16, 16) b (16, 8), bf16 in, float32 sums (mma.sync.m16n8k16). Lane l holds, with g = l / 4 and
/// t = l % 4: a[0] row g, a[1] row g + 8, columns 2t, 2t + 1; a[2], a[3] the same rows, columns 2t + 8, 2t + 9;
/// b[0] rows 2t, 2t + 1, b[1] rows 2t + 8, 2t + 9, column g; d[0], d[1] row g, columns 2t, 2t + 1; d[2], d[3] row g
/// + 8. The lower half of a register is the element of the lower index.
__device__ __forceinline__ void multiply_add_16x8x16(float (&d)[4], const std::uint32_t (&a)[4],
                                                     const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// 2^x, about 2 ulp, subnormal results to zero (ex2.approx.ftz).
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Puts one launch of `kernel` on the stream. More than 48 KiB of dynamic shared memory is asked for here. Arguments
/// are converted to the kernel's parameter types.
template <class... Parameters, class... Args>
void launch(Stream stream, dim3 grid, dim3 block, std::size_t shared_bytes, void (*kernel)(Parameters...),
            Args&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
    return;
  }
  const auto* entry = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  }
  [&](Parameters... values) {
    void* pointers[] = {static_cast<void*>(&values)...};
    check(cudaLaunchKernel(entry, grid, block, pointers, shared_bytes, static_cast<cudaStream_t>(stream.native)),
          "cudaLaunchKernel");
  }(static_cast<Parameters>(std::forward<Args>(args))...);
}

}  // namespace hrm::kernels::cuda
#endif

namespace hrm::kernels::cuda {

inline constexpr unsigned all_lanes = 0xffffffffU;
inline constexpr int warp_lanes = 32;

/// 16 bytes of T: what one thread moves in one access where the address allows.
template <class T>
struct alignas(16) Pack16 {
  static constexpr int count = 16 / sizeof(T);
  T values[count];
};

template <class T>
__device__ __forceinline__ Pack16<T> load_16(const T* from) {
#ifdef __CUDA_ARCH__
  return std::bit_cast<Pack16<T>>(*reinterpret_cast<const uint4*>(from));
#else  // plain C++ lets no uint4 stand for elements of T
  return *reinterpret_cast<const Pack16<T>*>(from);
#endif
}
template <class T>
__device__ __forceinline__ void store_16(T* to, const Pack16<T>& pack) {
#ifdef __CUDA_ARCH__
  // Written out: nvcc takes a plain 16-byte store apart where the other branch stores elements one by one.
  const auto words = std::bit_cast<uint4>(pack);
  asm volatile("st.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
#else
  *reinterpret_cast<Pack16<T>*>(to) = pack;
#endif
}

/// Whether rows of `stride` elements from `data` on can be read 16 bytes at a time.
template <class T>
bool rows_aligned(const T* data, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride * static_cast<std::int64_t>(sizeof(T)) % 16 == 0;
}

/// Two floats rounded to bf16 in one register, `low` in the lower half.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
#ifdef __CUDA_ARCH__
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return static_cast<std::uint32_t>(to_bf16(low).bits) | static_cast<std::uint32_t>(to_bf16(high).bits) << 16;
#endif
}

/// Sum over the lanes of a warp, the same bits in every lane.
__device__ __forceinline__ float warp_sum(float x) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) {
    x += __shfl_xor_sync(all_lanes, x, offset);
  }
  return x;
}
__device__ __forceinline__ double warp_sum(double x) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) {
    x += __shfl_xor_sync(all_lanes, x, offset);
  }
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(all_lanes, x, offset));
  }
  return x;
}

}  // namespace hrm::kernels::cuda
