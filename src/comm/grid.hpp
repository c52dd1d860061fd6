#pragma once
// Ranks as a grid of data x tensor. World rank = data rank * tensor size + tensor rank, so the ranks of a tensor group
// lie side by side and, where the launcher fills nodes in order, share a node.
#include <cstdint>
#include <memory>

#include "base/device.hpp"
#include "base/tensor_slice.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

struct Grid {
  std::unique_ptr<Device> owned_device;  ///< outlives the groups below
  Communicator* world = nullptr;
  std::unique_ptr<Communicator> data;    ///< the ranks that hold the same slices and work on other packs
  std::unique_ptr<Communicator> tensor;  ///< the ranks that work on the same packs and hold other slices
  Device* device = &host_device();       ///< what this rank computes on

  TensorPlace place() const { return {tensor->rank(), tensor->size()}; }
};

/// Cuts `world` into tensor groups of `tensor` ranks. Collective. InputError(bad_config) where they do not divide the
/// number of ranks, with the sizes that do.
Grid make_grid(Communicator& world, std::int64_t tensor);

/// The place of rank `rank` of `ranks` without the others (pretend_communicator); `world` is the given one.
Grid pretend_grid(Communicator& world, int rank, int ranks, std::int64_t tensor);

}  // namespace hrm::comm
