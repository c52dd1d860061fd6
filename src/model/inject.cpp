#include "model/inject.hpp"

#include "base/bf16.hpp"
#include "kernels/elementwise.hpp"

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

template void inject<float>(Stream, const Step&, std::span<const float>, const std::function<Matrix<float>(Value)>&,
                            Matrix<float>);
template void inject<bf16>(Stream, const Step&, std::span<const bf16>, const std::function<Matrix<bf16>(Value)>&,
                           Matrix<bf16>);

}  // namespace hrm::model
