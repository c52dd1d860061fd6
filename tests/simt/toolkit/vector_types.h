#pragma once
// CUDA's small vectors, with CUDA's alignments.

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned size_x = 1, unsigned size_y = 1, unsigned size_z = 1) : x(size_x), y(size_y), z(size_z) {}
  constexpr dim3(uint3 size) : x(size.x), y(size.y), z(size.z) {}
};

#define HRM_SIMT_VECTOR(type, name)                                       \
  struct alignas(2 * sizeof(type)) name##2 {                              \
    type x, y;                                                            \
  };                                                                      \
  struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { \
    type x, y, z, w;                                                      \
  };                                                                      \
  constexpr name##2 make_##name##2(type x, type y) {                      \
    return {x, y};                                                        \
  }                                                                       \
  constexpr name##4 make_##name##4(type x, type y, type z, type w) {      \
    return {x, y, z, w};                                                  \
  }

HRM_SIMT_VECTOR(unsigned char, uchar)
HRM_SIMT_VECTOR(short, short)
HRM_SIMT_VECTOR(unsigned short, ushort)
HRM_SIMT_VECTOR(int, int)
HRM_SIMT_VECTOR(unsigned, uint)
HRM_SIMT_VECTOR(long long, longlong)
HRM_SIMT_VECTOR(float, float)
HRM_SIMT_VECTOR(double, double)
#undef HRM_SIMT_VECTOR
