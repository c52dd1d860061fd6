#include "model/inject.hpp"

#include "base/bf16.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/fused_rmsnorm.hpp"
#include "kernels/rmsnorm.hpp"

namespace hrm::model {

template <class T>
void inject(Stream stream, const Step& step, std::span<const T> zl_init, const std::function<Matrix<T>(Value)>& value,
            Matrix<T> u) {
  if (step.second == no_value) {
    step.first == value_zl_init ? kernels::fill_rows<T>(stream, zl_init, u)
                                : kernels::copy<T>(stream, value(step.first), u);
  } else if (step.first == value_zl_init) {
    kernels::add_row<T>(stream, value(step.second), zl_init, u);
  } else if (step.second == value_zl_init) {
    kernels::add_row<T>(stream, value(step.first), zl_init, u);
  } else {
    kernels::add<T>(stream, value(step.first), value(step.second), u);
  }
}

template <class T>
void inject_and_norm(Stream stream, const Step& step, std::span<const T> zl_init,
                     const std::function<Matrix<T>(Value)>& value, float eps, Matrix<T> u, const LayerSaved<T>& first) {
  const Matrix<T> y = first.attention_input;
  if (step.second == no_value) {
    inject<T>(stream, step, zl_init, value, u);
    kernels::rmsnorm_forward<T>(stream, u, eps, y, first.rstd1);
  } else if (step.first == value_zl_init || step.second == value_zl_init) {
    const Value other = step.first == value_zl_init ? step.second : step.first;
    kernels::add_row_rmsnorm_forward<T>(stream, value(other), zl_init, eps, u, y, first.rstd1);
  } else {
    kernels::add_rmsnorm_forward<T>(stream, value(step.first), value(step.second), eps, u, y, first.rstd1);
  }
}

template void inject<float>(Stream, const Step&, std::span<const float>, const std::function<Matrix<float>(Value)>&,
                            Matrix<float>);
template void inject<bf16>(Stream, const Step&, std::span<const bf16>, const std::function<Matrix<bf16>(Value)>&,
                           Matrix<bf16>);

template void inject_and_norm<float>(Stream, const Step&, std::span<const float>,
                                     const std::function<Matrix<float>(Value)>&, float, Matrix<float>,
                                     const LayerSaved<float>&);
template void inject_and_norm<bf16>(Stream, const Step&, std::span<const bf16>,
                                    const std::function<Matrix<bf16>(Value)>&, float, Matrix<bf16>,
                                    const LayerSaved<bf16>&);

}  // namespace hrm::model
