#include "kernels/onednn.hpp"

#include <fmt/core.h>
#include <omp.h>

#include <array>
#include <atomic>
#include <utility>

#include "base/error.hpp"

#if DNNL_CPU_RUNTIME == DNNL_RUNTIME_TBB || DNNL_CPU_RUNTIME == DNNL_RUNTIME_SYCL
#error "hrm runs oneDNN products sequentially inside OpenMP threads: build oneDNN with DNNL_CPU_RUNTIME=OMP or SEQ"
#endif

namespace hrm::kernels::onednn {
namespace {

std::atomic<std::int64_t> created{0};

dnnl::memory::data_type data_type(Scalar scalar) {
  return scalar == Scalar::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc row_major(Scalar scalar, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  return {{rows, cols}, data_type(scalar), dnnl::memory::dims{stride, 1}};
}

dnnl::memory::desc column_major(Scalar scalar, std::int64_t rows, std::int64_t cols) {
  return {{rows, cols}, data_type(scalar), dnnl::memory::dims{1, rows}};
}

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                      const dnnl::memory::desc& c, bool accumulate) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, b, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, c), attributes, engine()};
#endif
}

dnnl::matmul::primitive_desc describe(const ProductSpec& spec) {
  const auto a = spec.a_transposed ? column_major(spec.in, spec.m, spec.k) : row_major(spec.in, spec.m, spec.k, spec.k);
  const auto b =
      spec.b_packed ? PackedLayout(spec.in, spec.k, spec.n).desc() : row_major(spec.in, spec.k, spec.n, spec.b_stride);
  return describe(a, b, row_major(spec.out, spec.m, spec.n, spec.c_stride), spec.accumulate);
}

/// What places an element of a blocked layout: outer strides, inner block sizes and the dimensions they cut.
struct Blocking {
  std::array<std::int64_t, 2> strides{};
  std::vector<std::int64_t> blocks;
  std::vector<std::int64_t> dims;
  bool operator==(const Blocking&) const = default;
};

Blocking blocking(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  const auto strides = desc.get_strides();
  return {{strides.at(0), strides.at(1)}, desc.get_inner_blks(), desc.get_inner_idxs()};
#else
  const auto& raw = desc.data.format_desc.blocking;
  return {{raw.strides[0], raw.strides[1]},
          {raw.inner_blks, raw.inner_blks + raw.inner_nblks},
          {raw.inner_idxs, raw.inner_idxs + raw.inner_nblks}};
#endif
}

/// Version 2 also zeroes the padding of a packed layout here, which is zero already: weights are packed before they are
/// used, so workers only write zeros over zeros.
bool set_handle(const dnnl::memory& memory, const void* data) {
  return dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(data)) == dnnl_success;
}

dnnl::reorder counted_reorder(const dnnl::memory& source, const dnnl::memory& target) {
  ++created;
  return dnnl::reorder(source, target);
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

std::string version() {
  const dnnl_version_t& v = *dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v.major, v.minor, v.patch);
}

std::string instruction_set() {
  using dnnl::cpu_isa;
  static const std::array names = {
    std::pair{cpu_isa::sse41, "sse41"},
    std::pair{cpu_isa::avx, "avx"},
    std::pair{cpu_isa::avx2, "avx2"},
    std::pair{cpu_isa::avx2_vnni, "avx2_vnni"},
    std::pair{cpu_isa::avx512_core, "avx512_core"},
    std::pair{cpu_isa::avx512_core_vnni, "avx512_core_vnni"},
    std::pair{cpu_isa::avx512_core_bf16, "avx512_core_bf16"},
    std::pair{cpu_isa::avx512_core_amx, "avx512_core_amx"},
#if DNNL_VERSION_MAJOR >= 3
    std::pair{cpu_isa::avx2_vnni_2, "avx2_vnni_2"},
    std::pair{cpu_isa::avx512_core_fp16, "avx512_core_fp16"},
    std::pair{cpu_isa::avx512_core_amx_fp16, "avx512_core_amx_fp16"},
#endif
  };
  const cpu_isa isa = dnnl::get_effective_cpu_isa();
  for (const auto& [value, text] : names) {
    if (value == isa) {
      return text;
    }
  }
  return fmt::format("isa_{:#x}", static_cast<unsigned>(isa));
}

bool has_bf16() {
  // The library's values are bit sets: a later instruction set contains the bits of those that it extends.
  constexpr auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

PackedLayout::PackedLayout(Scalar scalar, std::int64_t k, std::int64_t n) {
  const Sequential guard;
  constexpr std::int64_t any_m = 256;
  const dnnl::memory::desc b({k, n}, data_type(scalar), dnnl::memory::format_tag::any);
  desc_ = describe(row_major(scalar, any_m, k, k), b, row_major(scalar, any_m, n, n), false).weights_desc();
}

bool PackedLayout::contains(const PackedLayout& slab) const {
  return blocking(desc_) == blocking(slab.desc_);
}

Packer::Packer(Scalar from, Strides source, std::int64_t k, std::int64_t n, const PackedLayout& target)
    : source_({{k, n}, data_type(from), dnnl::memory::dims{source.k, source.n}}, engine(), DNNL_MEMORY_NONE),
      target_(target.desc(), engine(), DNNL_MEMORY_NONE),
      primitive_(counted_reorder(source_, target_)) {}

void Packer::run(const void* source, void* target) {
  ensure(set_handle(source_, source) && set_handle(target_, target), "oneDNN refused the addresses of a weight");
  dnnl::stream stream(engine());
  primitive_.execute(stream, source_, target_);
  stream.wait();
}

Product::Product(const ProductSpec& spec) {
  const Sequential guard;
  desc_ = describe(spec);
  primitive_ = dnnl::matmul(desc_);
  ++created;
}

void Product::reserve(int count) {
  const auto object = [](const dnnl::memory::desc& desc) { return dnnl::memory(desc, engine(), DNNL_MEMORY_NONE); };
  while (slots_.size() < static_cast<std::size_t>(count)) {
    slots_.push_back({dnnl::stream(engine()), object(desc_.src_desc()), object(desc_.weights_desc()),
                      object(desc_.dst_desc()), object(desc_.scratchpad_desc())});
  }
}

bool Product::run(int thread, const void* a, const void* b, void* c, void* scratch) noexcept {
  const Slot& slot = slots_[static_cast<std::size_t>(thread)];
  if (!set_handle(slot.a, a) || !set_handle(slot.b, b) || !set_handle(slot.c, c) ||
      !set_handle(slot.scratch, scratch)) {
    return false;
  }
  // The C call takes a plain array: the C++ one allocates a map and throws, neither of which may happen in a worker.
  const std::array<dnnl_exec_arg_t, 4> arguments = {{{DNNL_ARG_SRC, slot.a.get()},
                                                     {DNNL_ARG_WEIGHTS, slot.b.get()},
                                                     {DNNL_ARG_DST, slot.c.get()},
                                                     {DNNL_ARG_SCRATCHPAD, slot.scratch.get()}}};
  return dnnl_primitive_execute(primitive_.get(), slot.stream.get(), static_cast<int>(arguments.size()),
                                arguments.data()) == dnnl_success;
}

Sequential::Sequential() : threads_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}
Sequential::~Sequential() {
  omp_set_num_threads(threads_);
}

std::int64_t primitives_created() {
  return created.load();
}

}  // namespace hrm::kernels::onednn
