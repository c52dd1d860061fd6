#pragma once
// Launches, as kernels/cuda_device.hpp declares them.
#include <cstddef>
#include <functional>
#include <tuple>
#include <utility>

#include "base/device.hpp"
#include "simt/control.hpp"
#include "simt/guard.hpp"
#include "simt/multiprocessor.hpp"
#include "simt/toolkit/cuda_runtime.h"

namespace hrm::simt {

/// Runs the work now or, in deferred mode, when a call waits for the stream or asks about it.
void put_on_stream(cudaStream_t stream, std::function<void()> work);

}  // namespace hrm::simt

namespace hrm::kernels::cuda {

/// Puts one launch of `kernel` on the stream. Throws KernelError for what the launch or the kernel does wrong.
template <class... Parameters, class... Args>
void launch(Stream stream, dim3 grid, dim3 block, std::size_t shared_bytes, void (*kernel)(Parameters...),
            Args&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
    return;
  }
  struct Arguments {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> values;
  };
  const Arguments arguments{kernel, {static_cast<Parameters>(std::forward<Args>(args))...}};
  if (simt::settings().guarded) {
    int index = 0;
    const auto check = [&](const auto&... values) { (simt::check_argument(&values, sizeof values, index++), ...); };
    std::apply(check, arguments.values);
  }
  simt::put_on_stream(static_cast<cudaStream_t>(stream.native), [=] {
    const auto body = [](const void* all) {
      const auto& call = *static_cast<const Arguments*>(all);
      std::apply(call.kernel, call.values);
    };
    const auto* entry = reinterpret_cast<const void*>(arguments.kernel);
    simt::Multiprocessor::own().run({grid, block, shared_bytes, body, &arguments, entry});
  });
}

}  // namespace hrm::kernels::cuda
