#pragma once
// Small kernels without a fault, for the tests of the shim; nvcc compiles them too.
#include <cstdint>

#include "base/bf16.hpp"
#include "base/device.hpp"

namespace hrm::test {

/// out[i] of thread i of the grid: its block's number times 10000 plus its own number in the block, both counted with x
/// fastest. `block` is (x, y, z) threads, `grid` (x, y, z) blocks.
void number_threads(Stream stream, const unsigned (&grid)[3], const unsigned (&block)[3], std::int32_t* out);

/// sums[row] = sum of x (rows, 256), one block of 256 threads per row: warp sums, then shared memory and a barrier.
void sum_rows(Stream stream, const float* x, std::int64_t rows, float* sums);

/// (9, 32) results of one warp's shuffles of x[lane]; see the source.
void shuffle_lanes(Stream stream, const float* x, float* out);

/// votes[0..3]: ballot of x > 0, any, all, and how many threads of a block of 96 have x > 0.
void vote(Stream stream, const float* x, unsigned* votes);

/// d (16, 8) = a (16, 16) b (16, 8), all row-major without gaps, by asynchronous copies, load_matrix and
/// multiply_add_16x8x16. Columns of b from `columns` on count as zero and are not read.
void multiply_tile(Stream stream, const bf16* a, const bf16* b, int columns, float* d);

/// y (n) = x (n) in reverse within pieces of 128, through two buffers of dynamic shared memory that are filled ahead.
void reverse_pieces(Stream stream, const float* x, std::int64_t pieces, float* y);

}  // namespace hrm::test
