#pragma once
// CUDA's words that need no other thread: qualifiers, indices, mathematics, bits, shared memory.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt/multiprocessor.hpp"
#include "simt/toolkit/cuda_runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

#define threadIdx (::hrm::simt::thread_now->index)
#define blockIdx (::hrm::simt::multiprocessor_now->block_index)
#define blockDim (::hrm::simt::multiprocessor_now->block_size)
#define gridDim (::hrm::simt::multiprocessor_now->grid_size)
#define warpSize 32

/// Static shared memory: HRM_SHARED(float, sums, [32]); the brackets may be left out for a scalar.
#define HRM_SHARED(type, name, ...)            \
  using hrm_type_of_##name = type __VA_ARGS__; \
  static const char hrm_key_of_##name = 0;     \
  auto& name = ::hrm::simt::shared_variable<hrm_type_of_##name>(&hrm_key_of_##name)
/// Dynamic shared memory of the launch, aligned to 128 bytes, as a pointer to `type`.
#define HRM_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::hrm::simt::multiprocessor_now->shared.dynamic())

namespace hrm::simt {

template <class T>
T& shared_variable(const void* key) {
  const Muted muted;
  return *static_cast<T*>(multiprocessor_now->shared.variable(key, sizeof(T), alignof(T)));
}

template <class To, class From>
To bits_as(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &x, sizeof x);
  return result;
}

}  // namespace hrm::simt

// The C library declares some of these names, so they are macros.
#define __expf(x) ::expf(x)
#define __exp10f(x) ::powf(10.0F, x)
#define __logf(x) ::logf(x)
#define __log2f(x) ::log2f(x)
#define __powf(x, y) ::powf(x, y)
#define __sinf(x) ::sinf(x)
#define __cosf(x) ::cosf(x)
#define __sincosf(x, s, c) ::sincosf(x, s, c)

inline float __fdividef(float x, float y) {
  return x / y;
}
inline float __fdiv_rn(float x, float y) {
  return x / y;
}
inline float __frcp_rn(float x) {
  return 1.0F / x;
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline float __fsub_rn(float x, float y) {
  return x - y;
}
inline float __fmul_rn(float x, float y) {
  return x * y;
}
inline float __fmaf_rn(float x, float y, float z) {
  return ::fmaf(x, y, z);
}
inline float __fsqrt_rn(float x) {
  return ::sqrtf(x);
}
inline double __dadd_rn(double x, double y) {
  return x + y;
}
inline double __dmul_rn(double x, double y) {
  return x * y;
}
inline float rsqrtf(float x) {
  return 1.0F / ::sqrtf(x);
}
inline double rsqrt(double x) {
  return 1.0 / ::sqrt(x);
}
inline float __saturatef(float x) {
  return x > 0.0F ? (x < 1.0F ? x : 1.0F) : 0.0F;
}

inline int min(int a, int b) {
  return a < b ? a : b;
}
inline int max(int a, int b) {
  return a > b ? a : b;
}
inline unsigned min(unsigned a, unsigned b) {
  return a < b ? a : b;
}
inline unsigned max(unsigned a, unsigned b) {
  return a > b ? a : b;
}
inline long min(long a, long b) {
  return a < b ? a : b;
}
inline long max(long a, long b) {
  return a > b ? a : b;
}
inline unsigned long min(unsigned long a, unsigned long b) {
  return a < b ? a : b;
}
inline unsigned long max(unsigned long a, unsigned long b) {
  return a > b ? a : b;
}
inline long long min(long long a, long long b) {
  return a < b ? a : b;
}
inline long long max(long long a, long long b) {
  return a > b ? a : b;
}
inline unsigned long long min(unsigned long long a, unsigned long long b) {
  return a < b ? a : b;
}
inline unsigned long long max(unsigned long long a, unsigned long long b) {
  return a > b ? a : b;
}
inline float min(float a, float b) {
  return ::fminf(a, b);
}
inline float max(float a, float b) {
  return ::fmaxf(a, b);
}
inline double min(double a, double b) {
  return ::fmin(a, b);
}
inline double max(double a, double b) {
  return ::fmax(a, b);
}

inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : 1 + std::countr_zero(static_cast<unsigned>(x));
}
inline unsigned __float_as_uint(float x) {
  return hrm::simt::bits_as<unsigned>(x);
}
inline int __float_as_int(float x) {
  return hrm::simt::bits_as<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return hrm::simt::bits_as<float>(x);
}
inline float __int_as_float(int x) {
  return hrm::simt::bits_as<float>(x);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}

/// Loads and stores with a hint for the cache.
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}
template <class T>
void __stcg(T* to, T value) {
  *to = value;
}
