#pragma once
// Scaled token embedding x[t] = c E[ids[t]] (golden A.3) with the vocabulary cut over a tensor-parallel group: each
// rank looks up its own tokens, and the sum of all ranks is x.
#include <cstdint>
#include <span>

#include "kernels/embedding.hpp"
#include "model/tensor_group.hpp"
#include "model/weights.hpp"

namespace hrm::model {

/// x (own, D) of ids (tokens).
template <class T>
void embed(Stream stream, const ModelWeights<T>& weights, std::span<const std::int32_t> ids, TensorGroup<T>& group,
           Matrix<T> x);

/// d_table (V / group size, D) += the gradient of this rank's tokens, from dx (own, D) of ids (tokens), of which the
/// first `used` are no padding. `order` is scratch.
template <class T>
void embed_backward(Stream stream, const ModelWeights<T>& weights, std::span<const std::int32_t> ids, std::int64_t used,
                    Matrix<const T> dx, TensorGroup<T>& group, kernels::EmbeddingOrderBuffer& order,
                    Matrix<float> d_table);

}  // namespace hrm::model
