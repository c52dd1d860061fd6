#include "optim/optimizer.hpp"

#include <algorithm>
#include <numeric>

namespace hrm::optim {
namespace {

std::int64_t total(std::span<const FlatRange> ranges) {
  return std::accumulate(ranges.begin(), ranges.end(), std::int64_t{0},
                         [](std::int64_t sum, const FlatRange& range) { return sum + range.count(); });
}

}  // namespace

std::vector<RowPiece> pieces(const ParameterTable& table, std::span<const FlatRange> ranges) {
  std::vector<RowPiece> found;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const Parameter& row = table.rows[i];
    std::int64_t place = 0;
    for (const FlatRange& range : ranges) {
      const std::int64_t from = std::max(range.first, row.offset);
      const std::int64_t to = std::min(range.last, row.offset + row.count());
      if (row.trainable && from < to) {
        found.push_back({static_cast<int>(i), from - row.offset, place + from - range.first, to - from});
      }
      place += range.count();
    }
  }
  return found;
}

Optimizer::Optimizer(const ParameterTable& table, std::span<const FlatRange> ranges, const config::TrainConfig& config,
                     Device& device)
    : config_(config),
      device_(device),
      pieces_(pieces(table, ranges)),
      counts_(table.rows.size(), 0),
      m_(config.beta1 > 0 ? total(ranges) : 0, MemoryPart::optimizer, device.memory()),
      v_(total(ranges), MemoryPart::optimizer, device.memory()),
      e_(config.ema > 0 ? total(ranges) : 0, MemoryPart::optimizer, device.memory()),
      segments_(std::ssize(pieces_), MemoryPart::optimizer, device.staging()),
      device_segments_(std::ssize(pieces_), MemoryPart::optimizer, device.memory()) {
  for (const Parameter& row : table.rows) {
    trainable_.push_back(row.trainable);
    offsets_.push_back(row.offset);
  }
}

void Optimizer::start_average(std::span<const float> weights) {
  if (e_.size() > 0) {
    device_.copy(device_.compute(), e_.data(), weights.data(), weights.size_bytes());
  }
}

void Optimizer::update(std::span<float> weights, std::span<const float> gradient, double learning_rate,
                       const std::function<bool(int row)>& has_gradient) {
  for (std::size_t row = 0; row < counts_.size(); ++row) {
    counts_[row] += trainable_[row] && has_gradient(static_cast<int>(row)) ? 1 : 0;
  }
  std::int64_t used = 0;
  for (const RowPiece& piece : pieces_) {
    if (has_gradient(piece.row)) {
      const auto row = static_cast<std::size_t>(piece.row);
      segments_[used++] = {kernels::adam_atan2_step(learning_rate, config_.weight_decay, config_.beta1, config_.beta2,
                                                    config_.ema, counts_[row]),
                           piece.first_in_share, offsets_[row] + piece.first_in_row, piece.count};
    }
  }
  const Stream stream = device_.compute();
  device_.copy(stream, device_segments_.data(), segments_.data(),
               static_cast<std::size_t>(used) * sizeof(kernels::AdamAtan2Segment));
  kernels::adam_atan2_segments<float>(stream, device_segments_.span(0, used), weights, gradient, m_.span(), v_.span(),
                                      e_.span(), {}, nullptr);
}

}  // namespace hrm::optim
