#include "kernels/attention.hpp"

#include "base/error.hpp"
#include "tests/kernels/attention_problem.hpp"

namespace hrm::test {
namespace {

using Shape = AttentionShape;
template <class T>
using Problem = AttentionProblem<T>;

/// Single tokens, R = 1 (the whole sequence is prefix), P = 1, lengths around strips (8, 16, 32), key tiles (64) and
/// query blocks (128), with and without padding; head sizes that are no multiple of a vector.
std::vector<Shape> shapes() {
  return {
      {{1}, {1}, 0, 1, 2},
      {{5, 1, 9}, {5, 1, 1}, 3, 2, 6},
      {{15, 16, 17, 31, 32, 33}, {1, 16, 9, 31, 5, 17}, 0, 3, 20},
      {{63, 64, 65, 7}, {64 - 1, 1, 65, 3}, 11, 2, 16},
      {{127, 129, 40}, {70, 64, 40}, 5, 1, 32},
      {{200, 130}, {1, 129}, 1, 2, 64},
      {{70}, {20}, 2, 1, 130},
  };
}

template <class T>
struct Result : AttentionResult<T> {
  explicit Result(const Problem<T>& p) : AttentionResult<T>(p) {
    kernels::AttentionWorkspace workspace = p.workspace();
    const Stored<T> q = p.stored(p.c.q);
    const Stored<T> k = p.stored(p.c.k);
    const Stored<T> v = p.stored(p.c.v);
    kernels::attention_forward<T>({}, p.layout(), p.heads(), q, k, v, this->out, this->lse, workspace);
    kernels::attention_backward<T>({}, p.layout(), p.heads(), q, k, v, this->out, this->lse, p.stored(p.upstream),
                                   this->dq, this->dk, this->dv, workspace);
  }
};

template <class T>
class Attention : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Attention, Types);

TYPED_TEST(Attention, EqualsReference) {
  on_each_target([] {
    for (const Shape& shape : shapes()) {
      for (const MaskType mask : {MaskType::prefixlm, MaskType::causal}) {
        const Problem<TypeParam> p(shape, mask);

        const Result<TypeParam> r(p);

        const reference::AttentionGradient expected = reference::attention_gradient(p.c, p.upstream);
        // Scores are sums of head_dim products, of size up to ~10: their absolute error is the weights' relative one.
        const double steps = 32 + 2 * static_cast<double>(shape.head_dim);
        EXPECT_LT(error(reference::attention(p.c), r.out.values()), tolerance<TypeParam>(steps));
        // The bf16 output enters the gradient rounded (dout · out): a second half unit, of a larger sum.
        EXPECT_LT(error(expected.dq, r.dq.values()), 4 * tolerance<TypeParam>(steps));
        EXPECT_LT(error(expected.dk, r.dk.values()), 4 * tolerance<TypeParam>(steps));
        EXPECT_LT(error(expected.dv, r.dv.values()), 2 * tolerance<TypeParam>(steps));
        EXPECT_TRUE(r.gaps_untouched());
      }
    }
  });
}

TYPED_TEST(Attention, PaddingRowsAreZero) {
  const Shape shape{{5, 70}, {2, 30}, 9, 2, 6};
  const Problem<TypeParam> p(shape, MaskType::prefixlm);

  const Result<TypeParam> r(p);

  for (const Stored<TypeParam>* x : {&r.out, &r.dq, &r.dk, &r.dv}) {
    const Values values = x->values();
    EXPECT_EQ(Values(values.begin() + 75 * p.cols, values.end()), Values(static_cast<std::size_t>(9 * p.cols), 0.0));
  }
  EXPECT_EQ(std::vector<float>(r.lse.end() - 9, r.lse.end()), std::vector<float>(9, 0.0F));
}

TYPED_TEST(Attention, APackOfNothingButPaddingIsZero) {
  const Shape shape{{}, {}, 4, 1, 6};
  const Problem<TypeParam> p(shape, MaskType::causal);

  const Result<TypeParam> r(p);

  EXPECT_EQ(r.out.values(), Values(24, 0.0));
  EXPECT_EQ(r.dk.values(), Values(24, 0.0));
}

TEST(AttentionRange, LargeScoresDoNotOverflow) {
  const Shape shape{{90}, {33}, 0, 1, 16};
  const Problem<float> p(shape, MaskType::prefixlm, 5.0);

  const Result<float> r(p);

  // Scores reach ~100 and carry absolute errors of ~100 * 2^-24 * sqrt(16).
  EXPECT_LT(error(reference::attention(p.c), r.out.values()), 1e-4);
}

TYPED_TEST(Attention, IsTheSameOnAnyNumberOfThreads) {
  const Shape shape{{200, 33, 64, 150}, {30, 33, 1, 100}, 7, 3, 20};
  const Problem<TypeParam> p(shape, MaskType::prefixlm);
  const auto run = [&] { return Result<TypeParam>(p).bytes(); };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(AttentionWorkspaceSize, ALongerSequenceIsRefused) {
  const Problem<float> p({{9}, {3}, 0, 1, 6}, MaskType::causal);
  kernels::AttentionWorkspace workspace(8, 6);
  Stored<float> out = p.empty();
  std::vector<float> lse(9);

  EXPECT_THROW(kernels::attention_forward<float>({}, p.layout(), 1, p.stored(p.c.q), p.stored(p.c.k), p.stored(p.c.v),
                                                 out, lse, workspace),
               InternalError);
}

TYPED_TEST(Attention, DecodeEqualsTheLastRowOfTheSequence) {
  on_each_target([] {
    for (const std::int64_t head_dim : {6, 20, 64}) {
      const Shape shape{{1, 130, 64, 65}, {1, 9, 3, 64}, 0, 2, head_dim};
      const Problem<TypeParam> p(shape, MaskType::prefixlm);
      const Stored<TypeParam> k = p.stored(p.c.k);
      const Stored<TypeParam> v = p.stored(p.c.v);
      const Matrix<const TypeParam> keys = k;
      const Matrix<const TypeParam> values = v;
      const Values whole = reference::attention(p.c);
      std::vector<const TypeParam*> key_rows;
      std::vector<const TypeParam*> value_rows;
      Values last_q;
      Values expected;
      for (std::size_t s = 0; s < shape.lengths.size(); ++s) {
        key_rows.push_back(keys.row(p.c.cu_seqlens[s]));
        value_rows.push_back(values.row(p.c.cu_seqlens[s]));
        const auto last = (p.c.cu_seqlens[s + 1] - 1) * p.cols;
        last_q.insert(last_q.end(), p.c.q.begin() + last, p.c.q.begin() + last + p.cols);
        expected.insert(expected.end(), whole.begin() + last, whole.begin() + last + p.cols);
      }
      Stored<TypeParam> out(4, p.cols);

      kernels::attention_decode<TypeParam>({}, 2, Stored<TypeParam>(last_q, p.cols), key_rows, value_rows,
                                           shape.lengths, keys.stride, out);

      EXPECT_LT(error(expected, out.values()), tolerance<TypeParam>(32 + 2 * static_cast<double>(head_dim)));
      EXPECT_TRUE(out.gaps_untouched());
    }
  });
}

TEST(AttentionReference, GradientEqualsFiniteDifferences) {
  for (const MaskType mask : {MaskType::prefixlm, MaskType::causal}) {
    const Problem<float> p({{4, 1, 3}, {2, 1, 3}, 1, 2, 4}, mask);
    const reference::AttentionGradient expected = reference::attention_gradient(p.c, p.upstream);
    const auto loss = [&](Values reference::AttentionCase::*operand) {
      return [&, operand](const Values& at) {
        reference::AttentionCase c = p.c;
        c.*operand = at;
        return dot(p.upstream, reference::attention(c));
      };
    };

    EXPECT_LT(finite_difference_error(loss(&reference::AttentionCase::q), p.c.q, expected.dq), 1e-8);
    EXPECT_LT(finite_difference_error(loss(&reference::AttentionCase::k), p.c.k, expected.dk), 1e-8);
    EXPECT_LT(finite_difference_error(loss(&reference::AttentionCase::v), p.c.v, expected.dv), 1e-8);
  }
}

}  // namespace
}  // namespace hrm::test
