#pragma once
// Keys and values of generation: one pair per stack call, layer and lane, for the same layer sees other states in every
// call (golden A.11). In memory of the device.
#include <cstdint>

#include "base/buffer.hpp"
#include "base/matrix.hpp"

namespace hrm::model {

template <class T>
class DecoderCache {
 public:
  DecoderCache(std::int64_t calls, std::int64_t layers, std::int64_t lanes, std::int64_t context, std::int64_t width,
               Device& device)
      : calls_(calls),
        layers_(layers),
        lanes_(lanes),
        context_(context),
        width_(width),
        storage_(calls * layers * lanes * 2 * context * width, MemoryPart::activations, device.memory()) {}

  std::int64_t calls() const { return calls_; }
  std::int64_t layers() const { return layers_; }

  /// (context, D): keys after rope, by position.
  Matrix<T> keys(std::int64_t call, std::int64_t layer, std::int64_t lane) { return part(call, layer, lane, 0); }
  /// (context, D)
  Matrix<T> values(std::int64_t call, std::int64_t layer, std::int64_t lane) { return part(call, layer, lane, 1); }

 private:
  Matrix<T> part(std::int64_t call, std::int64_t layer, std::int64_t lane, std::int64_t which) {
    const std::int64_t index = ((call * layers_ + layer) * lanes_ + lane) * 2 + which;
    return {storage_.data() + index * context_ * width_, context_, width_};
  }

  std::int64_t calls_;
  std::int64_t layers_;
  std::int64_t lanes_;
  std::int64_t context_;
  std::int64_t width_;
  Buffer<T> storage_;  // (calls, layers, lanes, keys | values, context, D)
};

}  // namespace hrm::model
