#pragma once
// Communicator whose bulk data lie in device memory and travel through NCCL. Compiled where NCCL and CUDA are found.
#include <memory>

#include "base/device.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

/// The group of `host`, collective over it, on the current device (cudaSetDevice comes first; one device per rank).
///
/// Exchanges and reduce-scatter sums take device memory; they begin when the work that `compute` (a cudaStream_t; null:
/// the default stream) holds at their start is done. Work that is put on any stream after poll() or finish_exchange()
/// said so sees what arrived. After finish_exchange_before() the next operation may start; errors and the deadline of
/// the last one are still looked at by poll() and finish_exchange(), one of which comes before the host waits for a
/// stream that might wait for a lost peer. Everything else takes host memory and goes to `host`, whose native() and
/// node_group() these are.
///
/// An exchange moves bytes, so no bit depends on how. The order of start_reduce_scatter's sum is NCCL's: it depends on
/// its version, the number of ranks, the machine and NCCL_ALGO, NCCL_PROTO and the like.
///
/// `deadline`: seconds that an operation may take to get on its way, and then to end, the slowest rank included; the
/// same for the group to come about and to be taken down. A failing call and a missed deadline are
/// InputError(lost_peer), which the owner does not survive: the group is aborted when it unwinds.
std::unique_ptr<Communicator> nccl_communicator(std::unique_ptr<Communicator> host, double deadline,
                                                Stream compute = {DeviceType::cuda});

}  // namespace hrm::comm
