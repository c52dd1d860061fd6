// The CUDA kernels of attention on the shim, in several orders of execution and with late and eager copies.
#include <tuple>

#include "simt/control.hpp"
#include "tests/kernels/attention_problem.hpp"

namespace hrm::test {
namespace {

constexpr Stream gpu{DeviceType::cuda, nullptr};

template <class T>
AttentionResult<T> on_gpu(const AttentionProblem<T>& p) {
  AttentionResult<T> r(p);
  std::vector<kernels::AttentionTile> tiles;
  kernels::attention_tiles(p.layout(), tiles);
  const std::int64_t used = p.c.cu_seqlens.back();
  std::vector<float> row_sums(r.lse.size(), 5.0F);
  const Stored<T> q = p.stored(p.c.q);
  const Stored<T> k = p.stored(p.c.k);
  const Stored<T> v = p.stored(p.c.v);
  kernels::cuda::attention_forward<T>(gpu, tiles, used, p.heads(), q, k, v, r.out, r.lse);
  kernels::cuda::attention_backward<T>(gpu, tiles, used, p.heads(), q, k, v, r.out, r.lse, p.stored(p.upstream), r.dq,
                                       r.dk, r.dv, row_sums);
  return r;
}

/// Everything against the float64 twin. `rounded_weights`: tensor cores take weights and gradients of scores as bf16.
template <class T>
void expect_reference(const AttentionShape& shape, MaskType mask, std::int64_t gap, bool rounded_weights) {
  SCOPED_TRACE(testing::Message() << "head " << shape.head_dim << ", mask " << static_cast<int>(mask) << ", gap "
                                  << gap);
  const AttentionProblem<T> p(shape, mask, 1.0, gap);

  const AttentionResult<T> r = on_gpu(p);

  const reference::AttentionGradient expected = reference::attention_gradient(p.c, p.upstream);
  // Scores are sums of head_dim products, of size up to ~10: their absolute error is the weights' relative one.
  const double steps = 32 + 2 * static_cast<double>(shape.head_dim);
  // Roundings to bf16 of the operands of a sum, each half a unit, before that of the result.
  const double more = rounded_weights ? 1 : 0;
  EXPECT_LT(error(reference::attention_lse(p.c), widened(r.lse)), steps * std::ldexp(1.0, -24));
  EXPECT_LT(error(reference::attention(p.c), r.out.values()), (1 + more) * tolerance<T>(steps));
  // The bf16 output enters the gradient rounded (dout · out): a second half unit, of a larger sum.
  EXPECT_LT(error(expected.dq, r.dq.values()), (4 + more) * tolerance<T>(steps));
  EXPECT_LT(error(expected.dk, r.dk.values()), (4 + more) * tolerance<T>(steps));
  EXPECT_LT(error(expected.dv, r.dv.values()), (2 + more) * tolerance<T>(steps));
  EXPECT_TRUE(r.gaps_untouched());
  if (std::getenv("SHOW")) {
    std::printf("head %ld mask %d gap %ld: lse %.2g out %.2g dq %.2g dk %.2g dv %.2g (unit %.2g)\n", shape.head_dim, (int)mask, gap,
      error(reference::attention_lse(p.c), widened(r.lse)), error(reference::attention(p.c), r.out.values()), error(expected.dq, r.dq.values()), error(expected.dk, r.dk.values()), error(expected.dv, r.dv.values()), tolerance<T>(steps));
  }
}

/// Order of execution and moment of asynchronous copies.
class AttentionCuda : public testing::TestWithParam<std::tuple<std::uint64_t, simt::AsyncCopies>> {
 protected:
  AttentionCuda() {
    simt::settings().seed = std::get<0>(GetParam());
    simt::settings().copies = std::get<1>(GetParam());
  }
  ~AttentionCuda() override { simt::settings() = kept_; }

 private:
  simt::Settings kept_ = simt::settings();
};

/// Lengths around steps (32), parts (64) and tiles (128); prefixes of nothing, one token, inside and at borders, all.
std::vector<AttentionShape> packs(std::int64_t head_dim) {
  return {{{1, 63, 64, 65, 100, 130}, {1, 0, 64, 1, 37, 130}, 13, 1, head_dim},
          {{257, 31, 129}, {70, 31, 129}, 0, 2, head_dim}};
}

TEST_P(AttentionCuda, TensorCoresEqualReference) {
  for (const std::int64_t head_dim : {16, 32, 64, 128}) {
    for (const AttentionShape& shape : packs(head_dim)) {
      expect_reference<bf16>(shape, MaskType::prefixlm, 2 * shape.heads * head_dim + 8, true);
    }
  }
  expect_reference<bf16>(packs(128)[0], MaskType::causal, 8, true);
}

TEST_P(AttentionCuda, GeneralKernelEqualsReference) {
  for (const std::int64_t head_dim : {6, 24, 130}) {
    expect_reference<float>(packs(head_dim)[0], MaskType::prefixlm, 1, false);
    expect_reference<bf16>(packs(head_dim)[0], MaskType::causal, 3, false);
  }
  expect_reference<float>(packs(64)[1], MaskType::prefixlm, 4, false);
}

INSTANTIATE_TEST_SUITE_P(Orders, AttentionCuda,
                         testing::Combine(testing::Values(0, 5),
                                          testing::Values(simt::AsyncCopies::late, simt::AsyncCopies::eager)));

}  // namespace
}  // namespace hrm::test
