#pragma once
// Digests of tensors in memory, as a checkpoint of them would have. All functions are collective; every rank gets the
// same answer.
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_reader.hpp"

namespace hrm::io {

/// Digest of every tensor, by path, from the parts of all ranks.
std::map<std::string, std::uint64_t> tensor_digests(comm::Communicator& group, std::span<const TensorPart> parts);

/// The state_digest of a checkpoint of these parts.
std::uint64_t state_digest(comm::Communicator& group, std::span<const TensorPart> parts);

/// What was read is what was stored: 65, naming the tensor, unless the parts have the digests of `checkpoint`'s tensors
/// and those together its state_digest. Parts that it does not hold were started anew and are left out.
void check_restored(comm::Communicator& group, const CheckpointReader& checkpoint, std::span<const TensorPart> parts);

}  // namespace hrm::io
