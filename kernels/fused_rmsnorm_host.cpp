#include "kernels/fused_rmsnorm.hpp"

#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/rmsnorm.hpp"

namespace hrm::kernels {

template <class T>
void add_rmsnorm_forward(Stream stream, Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y,
                         std::span<float> rstd) {
  HRM_CUDA_DISPATCH(stream, add_rmsnorm_forward<T>(stream, a, b, eps, u, y, rstd));
  add<T>(stream, a, b, u);
  rmsnorm_forward<T>(stream, u, eps, y, rstd);
}

template <class T>
void add_row_rmsnorm_forward(Stream stream, Matrix<const T> a, std::span<const T> row, float eps, Matrix<T> u,
                             Matrix<T> y, std::span<float> rstd) {
  add_rmsnorm_forward<T>(stream, a, Matrix<const T>(row.data(), a.rows, a.cols, 0), eps, u, y, rstd);
}

template <class T>
void rmsnorm_backward_merge(Stream stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy,
                            Matrix<T> dx, bool accumulate, std::span<const Matrix<T>> add_to,
                            std::span<const Matrix<T>> copy_to) {
  ensure(add_to.size() <= most_merged && copy_to.size() <= most_merged,
         "rmsnorm_backward_merge takes at most 3 sums and 3 copies");
  HRM_CUDA_DISPATCH(stream, rmsnorm_backward_merge<T>(stream, y, rstd, dy, dx, accumulate, add_to, copy_to));
  rmsnorm_backward<T>(stream, y, rstd, dy, dx, accumulate);
  for (const Matrix<T>& sum : add_to) {
    add<T>(stream, sum, dx, sum);
  }
  for (const Matrix<T>& target : copy_to) {
    copy<T>(stream, dx, target);
  }
}

template void add_rmsnorm_forward(Stream, Matrix<const float>, Matrix<const float>, float, Matrix<float>, Matrix<float>,
                                  std::span<float>);
template void add_rmsnorm_forward(Stream, Matrix<const bf16>, Matrix<const bf16>, float, Matrix<bf16>, Matrix<bf16>,
                                  std::span<float>);
template void add_row_rmsnorm_forward(Stream, Matrix<const float>, std::span<const float>, float, Matrix<float>,
                                      Matrix<float>, std::span<float>);
template void add_row_rmsnorm_forward(Stream, Matrix<const bf16>, std::span<const bf16>, float, Matrix<bf16>,
                                      Matrix<bf16>, std::span<float>);
template void rmsnorm_backward_merge(Stream, Matrix<const float>, std::span<const float>, Matrix<const float>,
                                     Matrix<float>, bool, std::span<const Matrix<float>>,
                                     std::span<const Matrix<float>>);
template void rmsnorm_backward_merge(Stream, Matrix<const bf16>, std::span<const float>, Matrix<const bf16>,
                                     Matrix<bf16>, bool, std::span<const Matrix<bf16>>, std::span<const Matrix<bf16>>);

}  // namespace hrm::kernels
