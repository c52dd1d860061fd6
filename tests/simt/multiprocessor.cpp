#include "simt/multiprocessor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "simt/kernel_names.hpp"

namespace hrm::simt {

constinit thread_local Thread* thread_now = nullptr;
constinit thread_local Multiprocessor* multiprocessor_now = nullptr;

Multiprocessor& Multiprocessor::own() {
  static thread_local Multiprocessor processor;
  return processor;
}

void Multiprocessor::run(const Launch& launch) {
  const Muted muted;
  count_launch(launch.kernel);
  try {
    check(launch);
    prepare(launch);
    multiprocessor_now = this;
    run_blocks();
    multiprocessor_now = nullptr;
    thread_now = nullptr;
    if (failure_) {
      for (const auto& thread : threads_) {
        thread->fiber.restart();
      }
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  } catch (const KernelError& error) {
    throw KernelError(kernel_name(launch.kernel) + ": " + error.what());
  }
}

void Multiprocessor::prepare(const Launch& launch) {
  launch_ = launch;
  count_ = launch.block.x * launch.block.y * launch.block.z;
  block_size = launch.block;
  grid_size = launch.grid;
  random_ = settings().seed == 0 ? 0 : settings().seed * 0x9e3779b97f4a7c15U | 1;
  shared.prepare(launch.shared_bytes);
  while (threads_.size() < count_) {
    threads_.push_back(std::make_unique<Thread>(&live, static_cast<unsigned>(threads_.size())));
  }
  for (unsigned i = 0; i < count_; ++i) {
    threads_[i]->index = {i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)};
  }
}

void Multiprocessor::run_blocks() {
  const std::uint64_t blocks = std::uint64_t{grid_size.x} * grid_size.y * grid_size.z;
  for (std::uint64_t i = 0; i < blocks && !failure_; ++i) {
    const std::uint64_t block = random_ == 0 ? i : blocks - 1 - i;
    block_index = {static_cast<unsigned>(block % grid_size.x), static_cast<unsigned>(block / grid_size.x % grid_size.y),
                   static_cast<unsigned>(block / (std::uint64_t{grid_size.x} * grid_size.y))};
    start_block();
  }
}

void Multiprocessor::start_block() {
  shared.poison();
  ready_.fill(0);
  left_ = 0;
  at_barrier_ = 0;
  barrier_sum_ = 0;
  for (unsigned w = 0; w * warp_size < count_; ++w) {
    const unsigned lanes = std::min(warp_size, count_ - w * warp_size);
    warps_[w].alive = lanes == warp_size ? ~0U : (1U << lanes) - 1;
    for (unsigned rest = warps_[w].pending; rest != 0; rest &= rest - 1) {
      warps_[w].meetings[static_cast<unsigned>(std::countr_zero(rest))].arrived = 0;
    }
    warps_[w].pending = 0;
    make_ready(w, warps_[w].alive);
  }
  for (unsigned i = 0; i < count_; ++i) {
    threads_[i]->waits.name = nullptr;
    threads_[i]->copies.clear();
  }
  release_order(&start_order_);
  thread_now = threads_[count_ - 1].get();
  go(host_, next_ready());
  acquire_order(&end_order_);
}

void Multiprocessor::live() {
  const Muted muted;
  Fiber::entered();
  Multiprocessor& processor = *multiprocessor_now;
  Thread& self = *thread_now;
  for (;;) {
    const Launch launch = processor.launch_;
    Fiber* next = &processor.host_;
    acquire_order(&processor.start_order_);
    try {
      {
        const Unmuted unmuted;
        launch.body(launch.arguments);
      }
      next = &processor.leave();
    } catch (...) {
      processor.failure_ = std::current_exception();
    }
    release_order(&processor.end_order_);
    Fiber::go(self.fiber, *next);
  }
}

void Multiprocessor::go(Fiber& from, Thread& to) {
  thread_now = &to;
  Fiber::go(from, to.fiber);
}

void Multiprocessor::make_ready(unsigned warp, unsigned lanes) {
  ready_[warp / 2] |= std::uint64_t{lanes} << warp % 2 * warp_size;
}

Thread& Multiprocessor::next_ready() {
  unsigned from = thread_now->number + 1;
  if (random_ != 0) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    from = static_cast<unsigned>(random_ >> 32) % count_;
  }
  const unsigned words = (count_ + 63) / 64;
  unsigned word = from < count_ ? from / 64 : 0;
  std::uint64_t bits = ready_[word] & (from < count_ ? ~std::uint64_t{0} << from % 64 : ~std::uint64_t{0});
  for (unsigned i = 0; i <= words; ++i) {
    if (bits != 0) {
      return *threads_[word * 64 + static_cast<unsigned>(std::countr_zero(bits))];
    }
    word = word + 1 == words ? 0 : word + 1;
    bits = ready_[word];
  }
  kernel_error(
      fmt::format("deadlock in block ({}, {}, {}): {}", block_index.x, block_index.y, block_index.z, report()));
}

void Multiprocessor::suspend(const Call& call) {
  Thread& self = *thread_now;
  ready_[self.number / 64] &= ~(std::uint64_t{1} << self.number % 64);
  self.waits = call;
  go(self.fiber, next_ready());
  self.waits.name = nullptr;
}

void Multiprocessor::give_way() {
  if (random_ == 0 || random_ % 2 == 0) {
    return;
  }
  Thread& next = next_ready();
  if (&next != thread_now) {
    go(thread_now->fiber, next);
  }
}

Fiber& Multiprocessor::leave() {
  const Thread& self = *thread_now;
  const unsigned bit = 1U << self.lane();
  Warp& warp = warps_[self.warp()];
  for (unsigned rest = warp.pending; rest != 0; rest &= rest - 1) {
    const Meeting& meeting = warp.meetings[static_cast<unsigned>(std::countr_zero(rest))];
    if ((meeting.call.mask & bit) != 0) {
      kernel_error(fmt::format("thread {} ends, but {} waits for it", self.number, meeting.call.text()));
    }
  }
  warp.alive &= ~bit;
  ready_[self.number / 64] &= ~(std::uint64_t{1} << self.number % 64);
  if (++left_ == count_) {
    return host_;
  }
  thread_now = &next_ready();
  return thread_now->fiber;
}

Meeting& Multiprocessor::meeting_of(Warp& warp, unsigned mask) {
  for (unsigned rest = warp.pending; rest != 0; rest &= rest - 1) {
    Meeting& meeting = warp.meetings[static_cast<unsigned>(std::countr_zero(rest))];
    if (meeting.call.mask == mask) {
      return meeting;
    }
  }
  // Each pending meeting has a lane of its own that waits, and the caller is one more: a place is free.
  return warp.meetings[static_cast<unsigned>(std::countr_one(warp.pending))];
}

Meeting* Multiprocessor::meet(const Call& call, void* operand) {
  const Thread& self = *thread_now;
  const unsigned bit = 1U << self.lane();
  Warp& warp = warps_[self.warp()];
  if ((call.mask & bit) == 0) {
    kernel_error(
        fmt::format("thread {} (lane {}) is not in the mask of its {}", self.number, self.lane(), call.text()));
  }
  if ((call.mask & ~warp.alive) != 0) {
    kernel_error(fmt::format("{} of warp {} names lanes that have ended or do not exist: {:#x}", call.text(),
                             self.warp(), call.mask & ~warp.alive));
  }
  Meeting& meeting = meeting_of(warp, call.mask);
  if (meeting.arrived == 0) {
    meeting.call = call;
    warp.pending |= 1U << (&meeting - warp.meetings.data());
  } else if (!meeting.call.same(call)) {
    kernel_error(fmt::format("lanes of warp {} meet in different calls: {} and, thread {}, {}", self.warp(),
                             meeting.call.text(), self.number, call.text()));
  }
  meeting.operands[self.lane()] = operand;
  meeting.arrived |= bit;
  if (meeting.arrived == call.mask) {
    return &meeting;
  }
  suspend(call);
  return nullptr;
}

void Multiprocessor::part(Meeting& meeting) {
  const Thread& self = *thread_now;
  Warp& warp = warps_[self.warp()];
  warp.pending &= ~(1U << (&meeting - warp.meetings.data()));
  meeting.arrived = 0;
  ++meeting.round;
  make_ready(self.warp(), meeting.call.mask);
  give_way();
}

void Multiprocessor::sync_warp(const Call& call) {
  Meeting& meeting = meeting_of(warps_[thread_now->warp()], call.mask);
  char* order = &meeting.order[meeting.round % 2];
  release_order(order);
  if (meet(call, nullptr) != nullptr) {
    part(meeting);
  }
  acquire_order(order);
}

int Multiprocessor::barrier(const Call& call, int value) {
  const Thread& self = *thread_now;
  if (at_barrier_ == 0) {
    barrier_ = call;
  } else if (!barrier_.same(call)) {
    kernel_error(fmt::format("threads of one block meet in different barriers: {} and, thread {}, {}", barrier_.text(),
                             self.number, call.text()));
  }
  char* order = &barrier_order_[barrier_round_ % 2];
  release_order(order);
  barrier_sum_ += value != 0 ? 1 : 0;
  if (++at_barrier_ < count_) {
    suspend(call);
  } else {
    barrier_result_ = std::exchange(barrier_sum_, 0);
    at_barrier_ = 0;
    ++barrier_round_;
    for (unsigned w = 0; w * warp_size < count_; ++w) {
      make_ready(w, warps_[w].alive);
    }
    give_way();
  }
  acquire_order(order);
  return barrier_result_;
}

}  // namespace hrm::simt
