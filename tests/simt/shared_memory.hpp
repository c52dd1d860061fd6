#pragma once
// Shared memory of a block: a heap buffer of the exact size for each variable, so that AddressSanitizer sees the first
// byte beyond it. It holds 0xFF (NaN) when a block starts.
#include <cstddef>
#include <memory>
#include <vector>

namespace hrm::simt {

class SharedMemory {
 public:
  /// Starts a launch with `bytes` of dynamic shared memory.
  void prepare(std::size_t bytes);
  void poison();
  /// Start of the dynamic part, aligned to 128.
  void* dynamic() { return variables_.front().memory.get(); }
  /// The static variable that `key` stands for, made when first asked for. Throws KernelError beyond a GPU's limits.
  void* variable(const void* key, std::size_t bytes, std::size_t alignment);
  /// Throws KernelError unless the 16 bytes at `memory` lie in one variable and are aligned to 16.
  void check_16(const void* memory, const char* what) const;

 private:
  struct Release {
    std::size_t alignment;
    void operator()(unsigned char* memory) const;
  };
  struct Variable {
    const void* key;
    std::size_t bytes;
    std::unique_ptr<unsigned char, Release> memory;
  };
  void add(const void* key, std::size_t bytes, std::size_t alignment);

  std::vector<Variable> variables_;  ///< the first is the dynamic part
  std::size_t static_bytes_ = 0;
};

/// Most shared memory that a block may have: static, and both together (227 KiB of compute capability 9.0).
constexpr std::size_t max_static_shared = std::size_t{48} << 10;
constexpr std::size_t max_shared = std::size_t{227} << 10;

}  // namespace hrm::simt
