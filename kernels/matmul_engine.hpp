#pragma once
// The products of this process: one library primitive per shape, working memory per thread, and the parallel loop over
// tiles that runs them.
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "kernels/matmul_tiles.hpp"
#include "kernels/onednn.hpp"

namespace hrm::kernels {

/// Bytes of dense copies that one thread needs beside the library's own scratch: operands and result of one tile.
struct CopyBytes {
  std::size_t a = 0;
  std::size_t b = 0;
  std::size_t c = 0;
};

/// Where one thread works.
struct Workplace {
  int thread;
  std::byte* library;
  std::byte* a;
  std::byte* b;
  std::byte* c;
};

/// One caller at a time: hold `lock()` from the first `require` to the end of `for_each_tile`.
class MatmulEngine {
 public:
  static MatmulEngine& instance();

  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

  /// Makes the primitive of `spec` unless it exists, and memory objects for all threads.
  void require(const onednn::ProductSpec& spec);
  /// Grows each thread's working memory; `require` comes first.
  void reserve(const CopyBytes& copies);

  /// Inside for_each_tile: runs the required product of `spec`. False when the library reports an error.
  bool run(const onednn::ProductSpec& spec, const Workplace& at, const void* a, const void* b, void* c) noexcept {
    return products_.find(spec)->second->run(at.thread, a, b, c, at.library);
  }

  /// bool work(const Tile&, const Workplace&) for every tile, spread over threads; throws when one returns false.
  template <class Work>
  void for_each_tile(const Tiles& tiles, const Work& work) {
    const std::int64_t count = tiles.count();
    bool good = true;
    // All threads or one: libgomp ends the threads that a smaller team leaves over and starts them again later.
#pragma omp parallel if (count > 1) reduction(&& : good)
    {
      const onednn::Sequential guard;
      const Workplace place = workplace(omp_get_thread_num());
#pragma omp for schedule(dynamic)
      for (std::int64_t i = 0; i < count; ++i) {
        good = work(tiles.at(i), place) && good;
      }
    }
    ensure(good, "oneDNN could not run a matrix product");
  }

 private:
  Workplace workplace(int thread);

  const dnnl::engine& library_ = onednn::engine();  ///< made before the products, so destroyed after them
  std::mutex mutex_;
  std::map<onednn::ProductSpec, std::unique_ptr<onednn::Product>> products_;
  std::size_t library_bytes_ = 0;          ///< largest scratchpad of any product
  CopyBytes copies_;                       ///< largest copies asked for
  std::vector<Buffer<std::byte>> memory_;  ///< one per thread: library scratch, then copies a, b, c
};

}  // namespace hrm::kernels
