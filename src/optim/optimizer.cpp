#include "optim/optimizer.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/adam_atan2.hpp"

namespace hrm::optim {
namespace {

template <class T>
std::span<T> part(std::span<T> all, std::int64_t first, std::int64_t count) {
  return all.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

std::span<float> part(Buffer<float>& all, const RowPiece& piece) {
  return all.size() == 0 ? std::span<float>() : all.span(piece.first_in_share, piece.count);
}

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

Optimizer::Optimizer(const ParameterTable& table, std::span<const FlatRange> ranges, const config::TrainConfig& config)
    : config_(config),
      pieces_(pieces(table, ranges)),
      counts_(table.rows.size(), 0),
      m_(config.beta1 > 0 ? total(ranges) : 0, MemoryPart::optimizer),
      v_(total(ranges), MemoryPart::optimizer),
      e_(config.ema > 0 ? total(ranges) : 0, MemoryPart::optimizer) {
  for (const Parameter& row : table.rows) {
    trainable_.push_back(row.trainable);
    offsets_.push_back(row.offset);
  }
}

void Optimizer::start_average(std::span<const float> weights) {
  if (e_.size() > 0) {
    std::copy(weights.begin(), weights.end(), e_.data());
  }
}

void Optimizer::update(std::span<float> weights, std::span<const float> gradient, double learning_rate,
                       const std::function<bool(int row)>& has_gradient) {
  for (std::size_t row = 0; row < counts_.size(); ++row) {
    counts_[row] += trainable_[row] && has_gradient(static_cast<int>(row)) ? 1 : 0;
  }
  for (const RowPiece& piece : pieces_) {
    if (has_gradient(piece.row)) {
      const auto step = kernels::adam_atan2_step(learning_rate, config_.weight_decay, config_.beta1, config_.beta2,
                                                 config_.ema, counts_[static_cast<std::size_t>(piece.row)]);
      const std::int64_t flat = offsets_[static_cast<std::size_t>(piece.row)] + piece.first_in_row;
      kernels::adam_atan2_update(Stream{}, step, part(weights, piece.first_in_share, piece.count),
                                 part(gradient, flat, piece.count), part(m_, piece), part(v_, piece), part(e_, piece));
    }
  }
}

}  // namespace hrm::optim
