#include "comm/use_device.hpp"

#include <span>
#include <utility>

#include "base/error.hpp"
#include "comm/gpu_libraries.hpp"
#include "kernels/gpu.hpp"

#ifdef HRM_HAVE_NCCL
#include "comm/nccl_communicator.hpp"
#endif

namespace hrm::comm {
namespace {

/// Number of this rank among those of its node.
int node_rank(Communicator& world) {
  const std::unique_ptr<Communicator> node = world.node_group();
  return node ? node->rank() : 0;
}

/// `group`, with its bulk data in device memory; they are ready when `stream` gets there.
std::unique_ptr<Communicator> on_device(std::unique_ptr<Communicator> group, [[maybe_unused]] double deadline,
                                        [[maybe_unused]] Stream stream) {
  if (group->size() == 1 || kernels::gpu_memory_is_host_memory()) {
    return group;
  }
#ifdef HRM_HAVE_NCCL
  return nccl_communicator(std::move(group), deadline, stream);
#else
  fail(ExitCode::bad_config,
       "this build has no NCCL, so several ranks cannot exchange device memory; build with NCCL, "
       "start one rank, or set device.type = cpu");
#endif
}

}  // namespace

DeviceType choose_device(Communicator& world, const std::string& wanted) {
  if (wanted == "cpu") {
    return DeviceType::cpu;
  }
  std::int64_t without = kernels::gpu_count() == 0 ? world.rank() + 1 : 0;
  world.max(std::span<std::int64_t>(&without, 1));
  if (without > 0 && wanted == "cuda") {
    fail(ExitCode::bad_config,
         "device.type = cuda: rank {} sees no CUDA device ({}); take a GPU node and check nvidia-smi, or set "
         "device.type "
         "= cpu",
         without - 1, cuda_libraries() == "none" ? "this program was built without CUDA" : cuda_libraries());
  }
  return without > 0 ? DeviceType::cpu : DeviceType::cuda;
}

void use_device(Grid& grid, DeviceType type, double deadline) {
  if (type == DeviceType::cpu) {
    return;
  }
  const int number = node_rank(*grid.world);
  together(*grid.world, [&] { grid.owned_device = kernels::make_gpu(number % kernels::gpu_count()); });
  grid.device = grid.owned_device.get();
  grid.data = on_device(std::move(grid.data), deadline, grid.device->exchange());
  grid.tensor = on_device(std::move(grid.tensor), deadline, grid.device->compute());
}

std::string share_product_choices(const Grid& grid) {
  if (grid.device->is_host()) {
    return {};
  }
  std::string choices = broadcast_text(*grid.world, kernels::gpu_product_choices());
  adopt_product_choices(choices);
  return choices;
}

void adopt_product_choices(const std::string& choices) {
  kernels::adopt_gpu_product_choices(choices);
}

std::string device_fingerprint(const Device& device) {
  return device.is_host() ? "" : fmt::format("{}, {}, {}", cuda_libraries(), kernels::gpu_products(), device.name());
}

}  // namespace hrm::comm
