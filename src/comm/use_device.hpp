#pragma once
// Which device the ranks of a run compute on, and the way of their exchanges.
#include <string>

#include "comm/grid.hpp"

namespace hrm::comm {

/// What `wanted` (device.type: auto, cpu, cuda) means for the ranks of `world`: auto is CUDA where every rank sees a
/// device. Collective, the same on all ranks. InputError(bad_config) where cuda is wanted and a rank has none.
DeviceType choose_device(Communicator& world, const std::string& wanted);

/// Puts this rank of the grid on a device of its own: the CUDA device whose number is the rank's on its node, counted
/// round where ranks see fewer. Bulk data then travel through NCCL; an operation that takes longer than `deadline`
/// seconds is InputError(lost_peer). The first call that touches CUDA. Collective.
void use_device(Grid& grid, DeviceType type, double deadline);

/// Every rank goes on with the algorithms of matrix products that rank 0 has chosen, so that the same product has the
/// same bits everywhere. Returns them as text, for a checkpoint. Collective; on the host there are none.
std::string share_product_choices(const Grid& grid);
/// Goes on with those of a checkpoint of the same fingerprint, on every rank.
void adopt_product_choices(const std::string& choices);

/// "CUDA 13.0, cuBLASLt 13.0.2, NVIDIA H100 80GB HBM3 (sm_90)": what bits depend on besides the program; empty on the
/// host.
std::string device_fingerprint(const Device& device);

}  // namespace hrm::comm
