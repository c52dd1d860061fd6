#pragma once
// State injection: what a step's stack reads is the sum of its operands (golden A.9).
#include <functional>
#include <span>

#include "base/device.hpp"
#include "base/matrix.hpp"
#include "model/unroll.hpp"

namespace hrm::model {

/// u (tokens, D) = sum of the step's operands; `value(v)` is (tokens, D). zL_init (D) stands for itself in every row.
template <class T>
void inject(Stream stream, const Step& step, std::span<const T> zl_init, const std::function<Matrix<T>(Value)>& value,
            Matrix<T> u);

}  // namespace hrm::model
