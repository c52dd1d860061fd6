#pragma once
// A loaded pack as the network reads it.
#include "data/pack.hpp"
#include "model/network.hpp"

namespace hrm::infer {

inline model::PackView view(const data::Pack& pack) {
  return {pack.inputs,
          pack.position_ids,
          pack.cu_seqlens,
          pack.prefix_lens,
          {pack.supervised_rows, pack.supervised_labels, pack.supervised_sequence}};
}

}  // namespace hrm::infer
