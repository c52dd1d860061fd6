#include "kernels/matmul_engine.hpp"

namespace hrm::kernels {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

MatmulEngine& MatmulEngine::instance() {
  static MatmulEngine engine;
  return engine;
}

void MatmulEngine::require(const onednn::ProductSpec& spec) {
  auto& product = products_[spec];
  if (!product) {
    product = std::make_unique<onednn::Product>(spec);
    library_bytes_ = std::max(library_bytes_, aligned(product->scratch_bytes()));
  }
  product->reserve(omp_get_max_threads());
}

void MatmulEngine::reserve(const CopyBytes& copies) {
  copies_.a = std::max(copies_.a, aligned(copies.a));
  copies_.b = std::max(copies_.b, aligned(copies.b));
  copies_.c = std::max(copies_.c, aligned(copies.c));
  const auto bytes = static_cast<std::int64_t>(library_bytes_ + copies_.a + copies_.b + copies_.c);
  memory_.resize(std::max(memory_.size(), static_cast<std::size_t>(omp_get_max_threads())));
  for (auto& buffer : memory_) {
    if (buffer.size() < bytes) {
      buffer = Buffer<std::byte>();  // freed first: the two never exist together
      buffer = Buffer<std::byte>(bytes);
    }
  }
}

Workplace MatmulEngine::workplace(int thread) {
  std::byte* base = memory_[static_cast<std::size_t>(thread)].data();
  std::byte* a = base + library_bytes_;
  std::byte* b = a + copies_.a;
  return {thread, base, a, b, b + copies_.b};
}

}  // namespace hrm::kernels
