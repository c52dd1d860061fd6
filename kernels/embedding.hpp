#pragma once
// Scaled embedding (golden A.3): x[t] = c E[ids[t]], dE[v] = c Σ_{ids[t]=v} dx[t].
#include <cstdint>
#include <span>
#include <vector>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// x (T, D) from table (V, D) and ids (T). Row v of the table belongs to token first + v; rows of other tokens are
/// zero.
template <class T>
void embedding_forward(Stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale, Matrix<T> x,
                       std::int32_t first = 0);

/// Positions of a pack sorted by token id (stable), made by the loader so that the gradient has one fixed order:
/// positions[starts[k] .. starts[k+1]) all have id ids[k].
struct EmbeddingOrder {
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> starts;
  std::vector<std::int32_t> ids;
};

/// Order over ids[0 .. used); later positions are padding and get no gradient.
void sort_by_id(std::span<const std::int32_t> ids, EmbeddingOrder& order);

/// dtable (V, D) float32 += scale * sum of dx rows, in the order of `order`; only tokens first … first + V - 1.
template <class T>
void embedding_backward(Stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale, Matrix<float> dtable,
                        std::int32_t first = 0);

}  // namespace hrm::kernels
