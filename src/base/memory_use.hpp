#pragma once
#include <cstddef>

#include "base/device.hpp"

namespace hrm {

/// Bytes of the buffers that live in `memory` now, all parts together.
std::size_t bytes_in(const Memory& memory);

}  // namespace hrm
