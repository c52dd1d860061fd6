#pragma once
// A network cut over a tensor-parallel group (Megatron-LM, arXiv:1909.08053; sequence parallelism, arXiv:2205.05198):
// attention by heads, the MLP by its intermediate columns, embedding and head by vocabulary. Between those, with
// `sequence`, each rank holds a contiguous share of the rows of the residual stream and norms only that; without, every
// rank holds all rows.
#include "base/tensor_slice.hpp"
#include "comm/communicator.hpp"

namespace hrm::model {

/// Where a network stands in its group.
struct TensorParallel {
  comm::Communicator* group = nullptr;  ///< null: one rank, no communication
  bool sequence = true;

  TensorPlace place() const { return group == nullptr ? TensorPlace{} : TensorPlace{group->rank(), group->size()}; }
};

/// Weights that may still be on their way when a forward pass begins.
class WeightFeed {
 public:
  virtual ~WeightFeed() = default;
  /// Bucket `bucket` of the table is loaded when this returns.
  virtual void need(int bucket) = 0;
  /// Drives transfers under way; called between operations.
  virtual void poll() = 0;
};

}  // namespace hrm::model
