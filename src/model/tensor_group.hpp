#pragma once
// What the ranks of a tensor-parallel group exchange inside a step. Linear layers come in pairs: the first one reads
// all rows (gather) and gives each rank its own columns, the second one gives each rank a partial sum of all rows
// (reduce).
#include <cstdint>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/cross_entropy.hpp"
#include "model/tensor_parallel.hpp"

namespace hrm::model {

/// The rows [first, first + own) of the `all` rows of a state that one rank keeps.
struct RowShare {
  std::int64_t first = 0;
  std::int64_t own = 0;
  std::int64_t all = 0;
};

/// States of width D in transport type T. In a group of one nothing is copied and nothing allocated. Results are equal,
/// bit for bit, on all ranks: sums are taken in the order of the ranks.
template <class T>
class TensorGroup {
 public:
  /// For states of at most `most_rows` rows; all memory is allocated here.
  TensorGroup(const TensorParallel& parallel, std::int64_t most_rows, std::int64_t width,
              Device& device = host_device());

  /// Elements of T that it allocates.
  static std::int64_t elements(const TensorPlace& place, bool sequence, std::int64_t most_rows, std::int64_t width);

  bool alone() const { return place_.size == 1; }
  const TensorPlace& place() const { return place_; }
  /// Seconds that the host spent in exchanges since construction. On a device an exchange has its place in the stream,
  /// where its own time counts.
  double waited() const { return waited_; }
  /// This rank's share: a contiguous part whose sizes differ by at most one between ranks, or every row where the rows
  /// are not shared.
  RowShare share(std::int64_t all) const { return share(place_, sequence_, all); }
  static RowShare share(const TensorPlace& place, bool sequence, std::int64_t all);

  /// Before the host waits for a stream that exchanges have a place in: the end of the last one, or
  /// InputError(lost_peer).
  void finish() {
    if (!alone()) {
      group_->finish_exchange();
    }
  }

  /// (all, D) from the rows `mine` (own, D) of every rank. `mine` itself where that is all of them, else memory that
  /// lasts until the next gather.
  Matrix<const T> gather(Stream stream, Matrix<const T> mine, std::int64_t all);

  /// Where a partial sum (all, D) is made that goes to `reduce`; not in a group of one. Lasts until used again.
  Matrix<T> partial(std::int64_t all) { return {partial_.data(), all, width_}; }
  /// out (own, D) = Σ over ranks of partial(all), or out + that when `accumulate`: in float32, rounded once.
  void reduce(Stream stream, std::int64_t all, Matrix<T> out, bool accumulate);

  /// parts (size, n) with this rank's n in their place: then those of all ranks.
  void gather_parts(Stream stream, std::span<kernels::EntropyPart> parts);
  /// whole (rows, size n) from the columns `mine` (rows, n) of every rank, by way of `space` (size rows n).
  void gather_columns(Stream stream, Matrix<const float> mine, std::span<float> space, Matrix<float> whole);

 private:
  void exchange(Stream stream);
  void exchange_rows(Stream stream, Matrix<T> states);
  void all_gather(Stream stream, std::span<std::byte> data);

  comm::Communicator* group_;
  TensorPlace place_;
  bool sequence_;
  std::int64_t width_;
  Buffer<T> gathered_;  // (most rows, D), only where rows are shared
  Buffer<T> partial_;   // (most rows, D)
  Buffer<T> received_;  // (size, rows of the largest share, D): the own rows as others have them
  std::vector<Matrix<const T>> parts_;
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
  double waited_ = 0;
};

}  // namespace hrm::model
