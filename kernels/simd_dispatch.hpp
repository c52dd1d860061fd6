#pragma once
// Run-time choice of the instruction set. A kernel file is compiled once per target (Highway's foreach_target) into
// namespaces N_AVX3, N_AVX2 and a baseline (N_SSE2, before Highway 1.0.4 N_SCALAR); HRM_DISPATCH calls the best one
// that this processor has. Include before foreach_target.h: the macro below names the targets that are left out to keep
// compile times low.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HRM_AVX3_ZEN4 | HRM_AVX3_SPR | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/detect_targets.h>
#ifdef HWY_AVX3_ZEN4  // since Highway 1.0.4
#define HRM_AVX3_ZEN4 HWY_AVX3_ZEN4
#else
#define HRM_AVX3_ZEN4 0
#endif
#ifdef HWY_AVX3_SPR  // since Highway 1.0.5
#define HRM_AVX3_SPR HWY_AVX3_SPR
#else
#define HRM_AVX3_SPR 0
#endif
#include <hwy/targets.h>

#if (HWY_TARGETS & HWY_AVX3) && HWY_STATIC_TARGET != HWY_AVX3
#define HRM_TRY_AVX3(...)                   \
  if (hwy::SupportedTargets() & HWY_AVX3) { \
    return N_AVX3::__VA_ARGS__;             \
  }
#else
#define HRM_TRY_AVX3(...)
#endif
#if (HWY_TARGETS & HWY_AVX2) && HWY_STATIC_TARGET != HWY_AVX2
#define HRM_TRY_AVX2(...)                   \
  if (hwy::SupportedTargets() & HWY_AVX2) { \
    return N_AVX2::__VA_ARGS__;             \
  }
#else
#define HRM_TRY_AVX2(...)
#endif

/// The last statement of a public function: HRM_DISPATCH(forward<T>(x, y)) returns N_AVX3::forward<T>(x, y) or another.
#define HRM_DISPATCH(...)   \
  HRM_TRY_AVX3(__VA_ARGS__) \
  HRM_TRY_AVX2(__VA_ARGS__) \
  return HWY_STATIC_DISPATCH(__VA_ARGS__)
