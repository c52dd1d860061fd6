#include "model/embedding.hpp"

namespace hrm::model {

template <class T>
void embed(Stream stream, const ModelWeights<T>& weights, std::span<const std::int32_t> ids, TensorGroup<T>& group,
           Matrix<T> x) {
  const Matrix<T> target = group.alone() ? x : group.partial(std::ssize(ids));
  kernels::embedding_forward<T>(stream, weights.embedding(), ids, weights.embedding_scale(), target,
                                weights.first_token());
  if (!group.alone()) {
    group.reduce(stream, std::ssize(ids), x, false);
  }
}

template <class T>
void embed_backward(Stream stream, const ModelWeights<T>& weights, std::span<const std::int32_t> ids, std::int64_t used,
                    Matrix<const T> dx, TensorGroup<T>& group, kernels::EmbeddingOrderBuffer& order,
                    Matrix<float> d_table) {
  kernels::sort_by_id(ids.first(static_cast<std::size_t>(used)), order);
  kernels::embedding_backward<T>(stream, order.order(), group.gather(dx, std::ssize(ids)), weights.embedding_scale(),
                                 d_table, weights.first_token());
}

#define HRM_INSTANTIATE(T)                                                                                           \
  template void embed<T>(Stream, const ModelWeights<T>&, std::span<const std::int32_t>, TensorGroup<T>&, Matrix<T>); \
  template void embed_backward<T>(Stream, const ModelWeights<T>&, std::span<const std::int32_t>, std::int64_t,       \
                                  Matrix<const T>, TensorGroup<T>&, kernels::EmbeddingOrderBuffer&, Matrix<float>);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::model
