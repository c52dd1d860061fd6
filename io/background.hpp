#pragma once
// A thread for work on files while the main thread computes. Jobs make no calls of MPI or HDF5, which belong to the
// main thread.
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace hrm::io {

/// One thread, started once, that runs one job at a time and stands back where other threads want to compute.
class BackgroundThread {
 public:
  BackgroundThread();
  ~BackgroundThread();  ///< waits for the job
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  /// The last job has ended.
  void start(std::function<void()> job);
  bool idle() const;
  /// Until the job has ended; throws what it threw, once.
  void wait();
  /// The same without the throw.
  void finish() noexcept;
  /// Seconds that jobs have taken since the last call; none is under way.
  double take_seconds();

 private:
  void run();
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::function<void()> job_;  ///< empty: idle
  std::exception_ptr failure_;
  double seconds_ = 0;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace hrm::io
