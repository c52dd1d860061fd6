#include "io/background.hpp"

#include <sys/resource.h>

#include <utility>

#include "base/error.hpp"
#include "base/timer.hpp"

namespace hrm::io {
namespace {

constexpr int nice_value = 19;  // next to nothing of a core that computation wants, all of one that it leaves

}  // namespace

BackgroundThread::BackgroundThread() : thread_([this] { run(); }) {}

BackgroundThread::~BackgroundThread() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundThread::start(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    ensure(!job_, "BackgroundThread: one job at a time");
    job_ = std::move(job);
    failure_ = nullptr;
  }
  changed_.notify_all();
}

bool BackgroundThread::idle() const {
  const std::lock_guard lock(mutex_);
  return !job_;
}

void BackgroundThread::wait() {
  finish();
  if (const std::exception_ptr failure = std::exchange(failure_, nullptr)) {
    std::rethrow_exception(failure);
  }
}

void BackgroundThread::finish() noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !job_; });
}

double BackgroundThread::take_seconds() {
  const std::lock_guard lock(mutex_);
  return std::exchange(seconds_, 0);
}

void BackgroundThread::run() {
  ::setpriority(PRIO_PROCESS, 0, nice_value);  // on Linux of this thread alone
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return job_ || ends_; });
    if (!job_) {
      return;
    }
    lock.unlock();
    const Timer timer;
    std::exception_ptr failure;
    try {
      job_();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    seconds_ += timer.seconds();
    failure_ = failure;
    job_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace hrm::io
