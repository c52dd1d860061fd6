#include "simt/tensor_core.hpp"

#include <cmath>
#include <limits>

namespace hrm::kernels::cuda {

namespace {

using simt::warp_size;
// Words that may stand for anything; see PendingCopies.
using Word __attribute__((may_alias)) = std::uint32_t;
/// Eight columns at once.
using Row __attribute__((vector_size(32))) = float;

float low(std::uint32_t pair) {
  return to_float(bf16{static_cast<std::uint16_t>(pair)});
}
float high(std::uint32_t pair) {
  return to_float(bf16{static_cast<std::uint16_t>(pair >> 16)});
}

}  // namespace

void load_matrix(std::uint32_t (&out)[4], const void* shared_row, bool transposed, const simt::Call& call) {
  simt::multiprocessor_now->shared.check_16(shared_row, call.name);
  struct Operand {
    std::uint32_t row[4];
    std::uint32_t* out;
  } operand{{}, out};
  for (int i = 0; i < 4; ++i) {
    operand.row[i] = static_cast<const Word*>(shared_row)[i];
  }
  simt::collective(call, operand, [&](const auto& lanes) {
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      const unsigned row = lane / 4;
      const unsigned pair = lane % 4;
      for (unsigned i = 0; i < 4; ++i) {
        if (!transposed) {
          lanes[lane]->out[i] = lanes[8 * i + row]->row[pair];
          continue;
        }
        const unsigned shift = row % 2 * 16;
        const std::uint32_t first = lanes[8 * i + 2 * pair]->row[row / 2] >> shift & 0xffffU;
        const std::uint32_t second = lanes[8 * i + 2 * pair + 1]->row[row / 2] >> shift & 0xffffU;
        lanes[lane]->out[i] = first | second << 16;
      }
    }
  });
}

void multiply_add_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], simt::Where where) {
  struct Operand {
    float* d;
    const std::uint32_t* a;
    const std::uint32_t* b;
  } operand{d, a, b};
  simt::collective({"multiply_add_16x8x16", where, 0xffffffffU}, operand, [](const auto& lanes) {
    float a_rows[16][16];
    Row b_rows[16];
    Row sums[16];
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      const unsigned g = lane / 4;
      const unsigned t = lane % 4 * 2;
      const Operand& from = *lanes[lane];
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = g + i % 2 * 8;
        const unsigned column = t + i / 2 * 8;
        a_rows[row][column] = low(from.a[i]);
        a_rows[row][column + 1] = high(from.a[i]);
        sums[g + i / 2 * 8][t + i % 2] = from.d[i];
      }
      for (unsigned i = 0; i < 2; ++i) {
        b_rows[t + i * 8][g] = low(from.b[i]);
        b_rows[t + i * 8 + 1][g] = high(from.b[i]);
      }
    }
    for (unsigned row = 0; row < 16; ++row) {
      Row sum = sums[row];
      for (unsigned k = 0; k < 16; ++k) {
        sum += a_rows[row][k] * b_rows[k];
      }
      sums[row] = sum;
    }
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      for (unsigned i = 0; i < 4; ++i) {
        lanes[lane]->d[i] = sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
      }
    }
  });
}

float fast_exp2(float x) {
  const float flushed = std::fabs(x) < std::numeric_limits<float>::min() ? 0.0F : x;
  const float y = ::exp2f(flushed);
  return y < std::numeric_limits<float>::min() ? 0.0F : y;
}

}  // namespace hrm::kernels::cuda
