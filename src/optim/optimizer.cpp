#include "optim/optimizer.hpp"

#include <algorithm>

#include "kernels/adam_atan2.hpp"

namespace hrm::optim {
namespace {

template <class T>
std::span<T> part(std::span<T> all, const RowPiece& piece) {
  return all.subspan(static_cast<std::size_t>(piece.first_in_range), static_cast<std::size_t>(piece.count));
}

std::span<float> part(Buffer<float>& all, const RowPiece& piece) {
  return all.size() == 0 ? std::span<float>() : part(all.span(), piece);
}

}  // namespace

std::vector<RowPiece> pieces(const ParameterTable& table, std::int64_t first, std::int64_t last) {
  std::vector<RowPiece> found;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const Parameter& row = table.rows[i];
    const std::int64_t from = std::max(first, row.offset);
    const std::int64_t to = std::min(last, row.offset + row.count());
    if (row.trainable && from < to) {
      found.push_back({static_cast<int>(i), from - row.offset, from - first, to - from});
    }
  }
  return found;
}

Optimizer::Optimizer(const ParameterTable& table, std::int64_t first, std::int64_t last,
                     const config::TrainConfig& config)
    : config_(config),
      pieces_(pieces(table, first, last)),
      counts_(table.rows.size(), 0),
      m_(config.beta1 > 0 ? last - first : 0, MemoryPart::optimizer),
      v_(last - first, MemoryPart::optimizer),
      e_(config.ema > 0 ? last - first : 0, MemoryPart::optimizer) {
  for (const Parameter& row : table.rows) {
    trainable_.push_back(row.trainable);
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
      kernels::adam_atan2_update(Stream{}, step, part(weights, piece), part(gradient, piece), part(m_, piece),
                                 part(v_, piece), part(e_, piece));
    }
  }
}

}  // namespace hrm::optim
