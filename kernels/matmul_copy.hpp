#pragma once
// Dense copies of tiles: the matrix library wants dense operands of its own type, callers have views with strides.
#include <cstring>
#include <type_traits>

#include "base/bf16.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// to = from, element by element; float to bf16 rounds to nearest even.
template <class From, class To>
void copy_matrix(Matrix<const From> from, Matrix<To> to) {
  for (std::int64_t r = 0; r < from.rows; ++r) {
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(to.row(r), from.row(r), static_cast<std::size_t>(from.cols) * sizeof(To));
    } else {
      const From* source = from.row(r);
      To* target = to.row(r);
      for (std::int64_t c = 0; c < from.cols; ++c) {
        target[c] = from_float<To>(to_float(source[c]));
      }
    }
  }
}

template <class T>
bool is_dense(Matrix<T> matrix) {
  return matrix.stride == matrix.cols || matrix.rows <= 1;
}

/// A tile as the library reads it: in place where type and layout allow, else a dense copy in `space`.
template <class L, class T>
const L* dense_operand(Matrix<const T> tile, void* space) {
  if constexpr (std::is_same_v<L, T>) {
    if (is_dense(tile)) {
      return tile.data;
    }
  }
  L* copy = static_cast<L*>(space);
  copy_matrix(tile, Matrix<L>(copy, tile.rows, tile.cols));
  return copy;
}

/// A tile of the result as the library writes it: in place or in `space`; `finish` brings a copy home.
template <class L, class C>
class ResultTile {
 public:
  /// `keep`: the product adds to what is there.
  ResultTile(Matrix<C> home, void* space, bool keep)
      : home_(home), work_(static_cast<L*>(space), home.rows, home.cols) {
    if constexpr (std::is_same_v<L, C>) {
      if (is_dense(home)) {
        work_.data = home.data;
        return;
      }
    }
    if (keep) {
      copy_matrix<C, L>(home_, work_);
    }
  }
  L* data() const { return work_.data; }
  void finish() const {
    if (static_cast<const void*>(work_.data) != static_cast<const void*>(home_.data)) {
      copy_matrix<L, C>(work_, home_);
    }
  }

 private:
  Matrix<C> home_;
  Matrix<L> work_;
};

}  // namespace hrm::kernels
