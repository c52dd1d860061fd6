#include "kernels/gemm_cuda.hpp"

#if defined(HRM_HAVE_CUDA) && !defined(HRM_SIMT)
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <type_traits>

#include "base/error.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  // what cuBLAS itself takes on Hopper

void check(cublasStatus_t code, const char* what) {
  if (code != CUBLAS_STATUS_SUCCESS) {
    throw InternalError(fmt::format("{}: {}", what, cublasLtGetStatusString(code)));
  }
}

/// A handle of the library that `destroy` ends.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct Destroy {
  void operator()(Handle handle) const { destroy(handle); }
};
template <class Handle, cublasStatus_t (*destroy)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, destroy>>;
using Descriptor = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t data_type(GemmType type) {
  return type == GemmType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// A row-major matrix is its column-major transpose.
Layout make_layout(GemmType type, std::int64_t rows, std::int64_t cols, std::int64_t ld) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, data_type(type), static_cast<std::uint64_t>(cols),
                                   static_cast<std::uint64_t>(rows), ld),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

/// The column-major product Cᵀ = Bᵀ Aᵀ: the library's first operand is our B.
struct Plan {
  explicit Plan(const Gemm& s)
      : b(s.b_transposed ? make_layout(s.in, s.n, s.k, s.ldb) : make_layout(s.in, s.k, s.n, s.ldb)),
        a(s.a_transposed ? make_layout(s.in, s.k, s.m, s.lda) : make_layout(s.in, s.m, s.k, s.lda)),
        c(make_layout(s.out, s.m, s.n, s.ldc)) {
    cublasLtMatmulDesc_t desc = nullptr;
    check(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    descriptor.reset(desc);
    set(CUBLASLT_MATMUL_DESC_TRANSA, s.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, s.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  }

  void set(cublasLtMatmulDescAttributes_t attribute, cublasOperation_t value) {
    check(cublasLtMatmulDescSetAttribute(descriptor.get(), attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute");
  }

  Descriptor descriptor;
  Layout b;
  Layout a;
  Layout c;
  cublasLtMatmulAlgo_t algorithm{};
};

/// A shape, and the alignment in bytes that all its operands have.
struct Key {
  Gemm shape;
  std::uint32_t alignment;
  auto operator<=>(const Key&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads it
};

constexpr std::uint32_t best_alignment = 16;

std::uint32_t alignment_of(std::int64_t value) {
  std::uint32_t alignment = best_alignment;
  while (value % alignment != 0) {
    alignment /= 2;
  }
  return alignment;
}

std::uint32_t stride_alignment(const Gemm& s) {
  const std::int64_t in = s.in == GemmType::bf16 ? 2 : 4;
  const std::int64_t out = s.out == GemmType::bf16 ? 2 : 4;
  return std::min({alignment_of(s.lda * in), alignment_of(s.ldb * in), alignment_of(s.ldc * out)});
}

class Library {
 public:
  Library() {
    check(cublasLtCreate(&handle_), "cublasLtCreate");
    ensure(cudaMalloc(&workspace_, workspace_bytes) == cudaSuccess, "no device memory for products");
  }
  ~Library() {
    cudaFree(workspace_);
    cublasLtDestroy(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  Plan& plan(const Key& key) {
    const auto found = plans_.find(key);
    if (found != plans_.end()) {
      return found->second;
    }
    Plan& plan = plans_.emplace(key, Plan(key.shape)).first->second;
    plan.algorithm = choose(key, plan);
    return plan;
  }
  std::map<Key, Plan>& plans() { return plans_; }

  void run(Stream stream, const Key& key, const void* a, const void* b, void* c) {
    const Plan& p = plan(key);
    const float one = 1;
    const float beta = key.shape.accumulate ? 1.0F : 0.0F;
    check(
        cublasLtMatmul(handle_, p.descriptor.get(), &one, b, p.b.get(), a, p.a.get(), &beta, c, p.c.get(), c, p.c.get(),
                       &p.algorithm, workspace_, workspace_bytes, static_cast<cudaStream_t>(stream.native)),
        "cublasLtMatmul");
  }

 private:
  /// No split of k over thread blocks that add up in the order they come: the best of the others.
  cublasLtMatmulAlgo_t choose(const Key& key, const Plan& plan) {
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
    const Preference preference(made);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute");
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      set(attribute, key.alignment);
    }
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle_, plan.descriptor.get(), plan.b.get(), plan.a.get(), plan.c.get(),
                                         plan.c.get(), preference.get(), 1, &result, &found),
          "cublasLtMatmulAlgoGetHeuristic");
    ensure(found == 1, "cuBLASLt knows no algorithm for a matrix product");
    return result.algo;
  }

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Key, Plan> plans_;
};

std::unique_ptr<Library> the_library;

Library& library() {
  if (!the_library) {
    the_library = std::make_unique<Library>();
  }
  return *the_library;
}

Key key_of(const Gemm& shape, const void* a, const void* b, const void* c) {
  std::uint32_t alignment = stride_alignment(shape);
  for (const void* data : {a, b, static_cast<const void*>(c)}) {
    alignment = std::min(alignment, alignment_of(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data))));
  }
  return {shape, alignment};
}

// One line a shape: the key's numbers, then the library's opaque words.
using Algorithm = decltype(cublasLtMatmulAlgo_t::data);

void write(std::ostream& out, const Key& key, const Algorithm& words) {
  const Gemm& s = key.shape;
  out << s.m << ' ' << s.n << ' ' << s.k << ' ' << s.lda << ' ' << s.ldb << ' ' << s.ldc << ' '
      << static_cast<int>(s.in) << ' ' << static_cast<int>(s.out) << ' ' << s.a_transposed << ' ' << s.b_transposed
      << ' ' << s.accumulate << ' ' << key.alignment;
  for (const auto word : words) {
    out << ' ' << word;
  }
  out << '\n';
}

bool read(std::istream& in, Key& key, Algorithm& words) {
  Gemm& s = key.shape;
  int type_in = 0;
  int type_out = 0;
  in >> s.m >> s.n >> s.k >> s.lda >> s.ldb >> s.ldc >> type_in >> type_out >> s.a_transposed >> s.b_transposed >>
      s.accumulate >> key.alignment;
  s.in = static_cast<GemmType>(type_in);
  s.out = static_cast<GemmType>(type_out);
  for (auto& word : words) {
    in >> word;
  }
  return static_cast<bool>(in);
}

}  // namespace

void gemm(Stream stream, const Gemm& shape, const void* a, const void* b, void* c) {
  if (shape.m > 0 && shape.n > 0) {
    library().run(stream, key_of(shape, a, b, c), a, b, c);
  }
}

void prepare_gemm(const Gemm& shape) {
  if (shape.m > 0 && shape.n > 0) {
    library().plan({shape, stride_alignment(shape)});
  }
}

std::string gemm_choices() {
  std::ostringstream out;
  for (const auto& [key, plan] : library().plans()) {
    write(out, key, plan.algorithm.data);
  }
  return out.str();
}

void adopt_gemm_choices(const std::string& choices) {
  std::istringstream in(choices);
  Key key{};
  Algorithm words{};
  while (in >> std::ws && !in.eof()) {
    ensure(read(in, key, words), "choices of matrix products are damaged");
    std::memcpy(library().plan(key).algorithm.data, words, sizeof(words));
  }
}

std::string gemm_library() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void release_gemm() noexcept {
  the_library.reset();
}

}  // namespace hrm::kernels::cuda
#endif
