#pragma once
// Adam-atan2 with EMA over this rank's share of the flat parameters (golden B.3). Step counters are per tensor; a
// tensor without gradient is skipped entirely.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/parameter.hpp"
#include "config/run_config.hpp"
#include "kernels/adam_atan2.hpp"

namespace hrm::optim {

/// Part of one row that lies in a share of the flat array.
struct RowPiece {
  int row;
  std::int64_t first_in_row;    ///< first element of the piece in the row's flattened slice
  std::int64_t first_in_share;  ///< its place in the share's storage
  std::int64_t count;
};

/// Pieces of all trainable rows that lie in `ranges` (ascending flat elements, kept one after the other), in table
/// order: at most one per row where no range cuts a row. Padding belongs to no piece.
std::vector<RowPiece> pieces(const ParameterTable& table, std::span<const FlatRange> ranges);

class Optimizer {
 public:
  /// For the flat elements of `ranges`. Moments are zero; the EMA is set by `start_average`.
  /// All arrays below lie in memory of the device.
  Optimizer(const ParameterTable& table, std::span<const FlatRange> ranges, const config::TrainConfig& config,
            Device& device = host_device());

  /// e = W (golden B.3): called once for a new run. `weights` are the share's masters.
  void start_average(std::span<const float> weights);

  /// One update of every row for which has_gradient(row). `weights` are the share's, `gradient` is the flat array, of
  /// which the share's elements are read. The last update is done, or waited for, when the next one is asked for.
  void update(std::span<float> weights, std::span<const float> gradient, double learning_rate,
              const std::function<bool(int row)>& has_gradient);

  const std::vector<RowPiece>& row_pieces() const { return pieces_; }
  /// Updates each row has had, by row of the table; equal on all ranks.
  std::vector<std::int64_t>& counts() { return counts_; }
  const std::vector<std::int64_t>& counts() const { return counts_; }
  /// State of the share; empty where there is none (beta1 = 0, no EMA).
  Buffer<float>& first_moment() { return m_; }
  Buffer<float>& second_moment() { return v_; }
  Buffer<float>& average() { return e_; }

 private:
  config::TrainConfig config_;
  Device& device_;
  std::vector<bool> trainable_;
  std::vector<std::int64_t> offsets_;  ///< of the rows in the flat array
  std::vector<RowPiece> pieces_;
  std::vector<std::int64_t> counts_;
  Buffer<float> m_;
  Buffer<float> v_;
  Buffer<float> e_;
  Buffer<kernels::AdamAtan2Segment> segments_;         // one per piece at most, in the device's staging memory …
  Buffer<kernels::AdamAtan2Segment> device_segments_;  // … and in its own
};

}  // namespace hrm::optim
