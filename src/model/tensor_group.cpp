#include "model/tensor_group.hpp"

#include <algorithm>

#include "base/bf16.hpp"
#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/tree_plan.hpp"
#include "kernels/elementwise.hpp"

namespace hrm::model {
namespace {

/// Bytes of a dense matrix.
template <class T>
auto bytes_of(Matrix<T> states) {
  ensure(states.stride == states.cols || states.rows <= 1, "only dense states travel");
  const std::span<T> values(states.data, static_cast<std::size_t>(states.rows * states.cols));
  if constexpr (std::is_const_v<T>) {
    return std::as_bytes(values);
  } else {
    return std::as_writable_bytes(values);
  }
}

std::int64_t most_own_rows(std::int64_t rows, int ranks) {
  return (rows + ranks - 1) / ranks;
}

RowShare share_of(const TensorPlace& place, std::int64_t all) {
  const comm::PackRange share = comm::pack_share(all, place.rank, place.size);
  return {share.first, share.count(), all};
}

}  // namespace

template <class T>
TensorGroup<T>::TensorGroup(const TensorParallel& parallel, std::int64_t most_rows, std::int64_t width, Device& device)
    : group_(parallel.group), place_(parallel.place()), sequence_(parallel.sequence), width_(width) {
  if (alone()) {
    return;
  }
  const auto size = static_cast<std::size_t>(place_.size);
  const auto rows = [&](std::int64_t count) {
    return Buffer<T>(count * width, MemoryPart::workspace, device.memory());
  };
  gathered_ = rows(sequence_ ? most_rows : 0);
  partial_ = rows(most_rows);
  received_ = rows(place_.size * most_own_rows(most_rows, place_.size));
  parts_.reserve(size);
  sends_.reserve(size);
  receives_.reserve(size);
}

template <class T>
std::int64_t TensorGroup<T>::elements(const TensorPlace& place, bool sequence, std::int64_t most_rows,
                                      std::int64_t width) {
  const std::int64_t received = place.size * most_own_rows(most_rows, place.size);
  return place.size == 1 ? 0 : ((sequence ? 2 : 1) * most_rows + received) * width;
}

template <class T>
RowShare TensorGroup<T>::share(const TensorPlace& place, bool sequence, std::int64_t all) {
  return sequence ? share_of(place, all) : RowShare{0, all, all};
}

template <class T>
void TensorGroup<T>::exchange(Stream stream) {
  const Timer timer;
  group_->start_exchange(sends_, receives_);
  group_->finish_exchange_before(stream);
  waited_ += timer.seconds();
}

/// Every rank's share of `states` (all, D) goes to all others.
template <class T>
void TensorGroup<T>::exchange_rows(Stream stream, Matrix<T> states) {
  sends_.clear();
  receives_.clear();
  const RowShare own = share_of(place_, states.rows);
  for (int rank = 0; rank < place_.size; ++rank) {
    if (rank != place_.rank) {
      const RowShare theirs = share_of({rank, place_.size}, states.rows);
      sends_.push_back({rank, bytes_of(states.slice(own.first, own.own))});
      receives_.push_back({rank, bytes_of(states.slice(theirs.first, theirs.own))});
    }
  }
  exchange(stream);
}

template <class T>
Matrix<const T> TensorGroup<T>::gather(Stream stream, Matrix<const T> mine, std::int64_t all) {
  if (alone() || !sequence_) {
    return mine;
  }
  const Matrix<T> whole(gathered_.data(), all, width_);
  const RowShare own = share(all);
  ensure(mine.rows == own.own && mine.cols == width_, "shape of a rank's rows does not match");
  kernels::copy<T>(stream, mine, whole.slice(own.first, own.own));
  exchange_rows(stream, whole);
  return whole;
}

template <class T>
void TensorGroup<T>::reduce(Stream stream, std::int64_t all, Matrix<T> out, bool accumulate) {
  const Matrix<T> mine = partial(all);
  const RowShare own = share_of(place_, all);
  const auto received = [&](int rank) {
    return Matrix<T>(received_.data() + rank * own.own * width_, own.own, width_);
  };
  parts_.clear();
  sends_.clear();
  receives_.clear();
  for (int rank = 0; rank < place_.size; ++rank) {
    if (rank == place_.rank) {
      parts_.push_back(mine.slice(own.first, own.own));
      continue;
    }
    const RowShare theirs = share_of({rank, place_.size}, all);
    parts_.push_back(received(rank));
    sends_.push_back({rank, bytes_of(mine.slice(theirs.first, theirs.own))});
    receives_.push_back({rank, bytes_of(received(rank))});
  }
  exchange(stream);
  kernels::sum_parts<T>(stream, parts_, sequence_ ? out : out.slice(own.first, own.own), accumulate);
  if (!sequence_) {
    exchange_rows(stream, out);
  }
}

/// `data` is cut evenly among the ranks.
template <class T>
void TensorGroup<T>::all_gather(Stream stream, std::span<std::byte> data) {
  ensure(data.size() % static_cast<std::size_t>(place_.size) == 0, "a gather has equal parts");
  const std::size_t part = data.size() / static_cast<std::size_t>(place_.size);
  const auto part_of = [&](int rank) { return data.subspan(static_cast<std::size_t>(rank) * part, part); };
  sends_.clear();
  receives_.clear();
  for (int rank = 0; rank < place_.size; ++rank) {
    if (rank != place_.rank) {
      sends_.push_back({rank, part_of(place_.rank)});
      receives_.push_back({rank, part_of(rank)});
    }
  }
  exchange(stream);
}

template <class T>
void TensorGroup<T>::gather_parts(Stream stream, std::span<kernels::EntropyPart> parts) {
  all_gather(stream, std::as_writable_bytes(parts));
}

template <class T>
void TensorGroup<T>::gather_columns(Stream stream, Matrix<const float> mine, std::span<float> space,
                                    Matrix<float> whole) {
  const std::int64_t count = mine.rows * mine.cols;
  const auto part = [&](int rank) { return Matrix<float>(space.data() + rank * count, mine.rows, mine.cols); };
  kernels::copy<float>(stream, mine, part(place_.rank));
  all_gather(stream, std::as_writable_bytes(space.first(static_cast<std::size_t>(place_.size * count))));
  for (int rank = 0; rank < place_.size; ++rank) {
    kernels::copy<float>(stream, part(rank), whole.columns(rank * mine.cols, mine.cols));
  }
}

template class TensorGroup<float>;
template class TensorGroup<bf16>;

}  // namespace hrm::model
