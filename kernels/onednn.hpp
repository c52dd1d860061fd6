#pragma once
// The adapter of oneDNN: the only code that names its types and bridges its versions 2 (Debian 12) and 3
// (Ubuntu 24.04). Every object runs sequentially on the calling thread; callers bring the threads.
#include <compare>
#include <cstddef>
#include <cstdint>
#include <dnnl.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "base/bf16.hpp"

namespace hrm::kernels::onednn {

enum class Scalar : std::uint8_t { f32, bf16 };

template <class T>
inline constexpr Scalar scalar_of = std::is_same_v<T, bf16> ? Scalar::bf16 : Scalar::f32;

constexpr std::size_t bytes(Scalar scalar) {
  return scalar == Scalar::bf16 ? sizeof(bf16) : sizeof(float);
}

/// The processor as the library sees it. Objects that outlive main() hold this reference, so that it outlives them.
const dnnl::engine& engine();

/// "oneDNN 2.6.3".
std::string version();
/// Instruction set that the library dispatches to, e.g. "avx512_core_bf16"; follows ONEDNN_MAX_CPU_ISA.
std::string instruction_set();
/// True where that instruction set multiplies bf16 natively (AVX512_BF16, AMX).
bool has_bf16();

/// C (m, n) = A (m, k) B (k, n), plus C before rounding when `accumulate`. Sums are float32.
struct ProductSpec {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Scalar in = Scalar::f32;
  Scalar out = Scalar::f32;
  bool a_transposed = false;  ///< A is stored dense as (k, m), else dense as (m, k)
  bool b_packed = false;      ///< B is stored as PackedLayout, else row-major with b_stride
  bool accumulate = false;
  std::int64_t b_stride = 0;
  std::int64_t c_stride = 0;                             ///< of C, row-major
  auto operator<=>(const ProductSpec&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads it
};

/// The blocked layout that the library prefers for B (k, n). It does not depend on m.
class PackedLayout {
 public:
  PackedLayout(Scalar scalar, std::int64_t k, std::int64_t n);
  std::size_t bytes() const { return desc_.get_size(); }
  /// True when a block of columns packed as `slab` is byte for byte a contiguous part of this layout.
  bool contains(const PackedLayout& slab) const;
  const dnnl::memory::desc& desc() const { return desc_; }

 private:
  dnnl::memory::desc desc_;
};

/// Element strides of a matrix B (k, n) in plain storage.
struct Strides {
  std::int64_t k;
  std::int64_t n;
};

/// Copies B from plain storage of type `from` to a packed layout, rounding to nearest even.
class Packer {
 public:
  Packer(Scalar from, Strides source, std::int64_t k, std::int64_t n, const PackedLayout& target);
  void run(const void* source, void* target);

 private:
  dnnl::memory source_;
  dnnl::memory target_;
  dnnl::reorder primitive_;
};

/// One library primitive with the memory objects of each thread that may run it.
class Product {
 public:
  explicit Product(const ProductSpec& spec);
  /// Working memory of one run, which the caller provides. The library's own scratchpad is shared by all threads and
  /// gives wrong results without an error when several threads run one primitive.
  std::size_t scratch_bytes() const { return desc_.scratchpad_desc().get_size(); }
  /// Makes the memory objects of threads [0, count).
  void reserve(int count);
  /// Runs on the calling thread, whose number is below the reserved count. False when the library reports an error.
  bool run(int thread, const void* a, const void* b, void* c, void* scratch) noexcept;

 private:
  struct Slot {
    dnnl::stream stream;
    dnnl::memory a;
    dnnl::memory b;
    dnnl::memory c;
    dnnl::memory scratch;
  };
  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
  std::vector<Slot> slots_;
};

/// Makes the library sequential on this thread while it lives. A team of one thread does not count as "inside a
/// parallel region" for oneDNN, so each worker holds one; primitives are also created under it, because the
/// implementation that the library picks depends on the number of threads it sees.
class Sequential {
 public:
  Sequential();
  ~Sequential();
  Sequential(const Sequential&) = delete;
  Sequential& operator=(const Sequential&) = delete;

 private:
  int threads_;
};

/// Primitives created by this process, reorders included.
std::int64_t primitives_created();

}  // namespace hrm::kernels::onednn
