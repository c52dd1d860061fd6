#pragma once
// CUDA's calls in which threads of a warp or a block meet.
#include <type_traits>

#include "simt/multiprocessor.hpp"

namespace hrm::simt {

/// The calling thread's lane gets the value of lane `from`, all lanes of call.mask at once. Throws KernelError if that
/// lane is not in the mask.
template <class T>
T shuffle(const Call& call, T value, int from) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 4 and 8 byte numbers");
  struct Operand {
    T in;
    T out;
    int from;
  } operand{value, value, from};
  const bool own_in_mask = (call.mask >> thread_now->lane() & 1) != 0;  // else meet() complains
  if (own_in_mask && (call.mask >> from & 1) == 0) {
    kernel_error("thread " + std::to_string(thread_now->number) + " reads lane " + std::to_string(from) +
                 ", which is not in the mask of its " + call.text());
  }
  collective(call, operand, [&](const auto& lanes) {
    for (unsigned rest = call.mask; rest != 0; rest &= rest - 1) {
      Operand& lane = *lanes[static_cast<unsigned>(std::countr_zero(rest))];
      lane.out = lanes[static_cast<unsigned>(lane.from)]->in;
    }
  });
  return operand.out;
}

/// First lane of the segment of `width` lanes (a power of two up to 32) that the calling thread is in.
inline int first_of_segment(int width) {
  if (width <= 0 || width > 32 || (width & (width - 1)) != 0) {
    kernel_error("a shuffle's width is a power of two up to 32");
  }
  return static_cast<int>(thread_now->lane()) & ~(width - 1);
}

inline unsigned ballot(const Call& call, int predicate) {
  struct Operand {
    int in;
    unsigned out;
  } operand{predicate, 0};
  collective(call, operand, [&](const auto& lanes) {
    unsigned votes = 0;
    for (unsigned rest = call.mask; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      votes |= lanes[lane]->in != 0 ? 1U << lane : 0U;
    }
    for (unsigned rest = call.mask; rest != 0; rest &= rest - 1) {
      lanes[static_cast<unsigned>(std::countr_zero(rest))]->out = votes;
    }
  });
  return operand.out;
}

}  // namespace hrm::simt

#define HRM_SIMT_HERE hrm::simt::Where where = hrm::simt::Where::current()

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, HRM_SIMT_HERE) {
  const int from = hrm::simt::first_of_segment(width) + (lane & (width - 1));
  return hrm::simt::shuffle({"__shfl_sync", where, mask}, value, from);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HRM_SIMT_HERE) {
  const int own = static_cast<int>(hrm::simt::thread_now->lane());
  const int from = own - static_cast<int>(delta);
  const bool inside = from >= hrm::simt::first_of_segment(width);
  return hrm::simt::shuffle({"__shfl_up_sync", where, mask}, value, inside ? from : own);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HRM_SIMT_HERE) {
  const int own = static_cast<int>(hrm::simt::thread_now->lane());
  const int from = own + static_cast<int>(delta);
  const bool inside = from < hrm::simt::first_of_segment(width) + width;
  return hrm::simt::shuffle({"__shfl_down_sync", where, mask}, value, inside ? from : own);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, HRM_SIMT_HERE) {
  const int own = static_cast<int>(hrm::simt::thread_now->lane());
  const int from = own ^ bits;
  const bool inside = from >= 0 && from < hrm::simt::first_of_segment(width) + width;
  return hrm::simt::shuffle({"__shfl_xor_sync", where, mask}, value, inside ? from : own);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, HRM_SIMT_HERE) {
  return hrm::simt::ballot({"__ballot_sync", where, mask}, predicate);
}
inline int __any_sync(unsigned mask, int predicate, HRM_SIMT_HERE) {
  return hrm::simt::ballot({"__any_sync", where, mask}, predicate) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, HRM_SIMT_HERE) {
  return hrm::simt::ballot({"__all_sync", where, mask}, predicate) == mask ? 1 : 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffU, HRM_SIMT_HERE) {
  const hrm::simt::Muted muted;
  hrm::simt::multiprocessor_now->sync_warp({"__syncwarp", where, mask});
}

/// Unlike a GPU, which counts ended threads as arrived, all threads of the block must come.
inline void __syncthreads(HRM_SIMT_HERE) {
  const hrm::simt::Muted muted;
  hrm::simt::multiprocessor_now->barrier({"__syncthreads", where}, 0);
}
inline int __syncthreads_count(int predicate, HRM_SIMT_HERE) {
  const hrm::simt::Muted muted;
  return hrm::simt::multiprocessor_now->barrier({"__syncthreads_count", where}, predicate);
}
inline int __syncthreads_or(int predicate, HRM_SIMT_HERE) {
  const hrm::simt::Muted muted;
  return hrm::simt::multiprocessor_now->barrier({"__syncthreads_or", where}, predicate) != 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate, HRM_SIMT_HERE) {
  const hrm::simt::Muted muted;
  return hrm::simt::multiprocessor_now->barrier({"__syncthreads_and", where}, predicate == 0 ? 1 : 0) == 0 ? 1 : 0;
}

#undef HRM_SIMT_HERE
