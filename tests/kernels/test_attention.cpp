#include "kernels/attention.hpp"

#include "base/error.hpp"
#include "base/round.hpp"
#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

using kernels::MaskType;

struct Shape {
  std::vector<std::int32_t> lengths;
  std::vector<std::int32_t> prefixes;
  std::int64_t padding;
  std::int64_t heads;
  std::int64_t head_dim;
};

/// Single tokens, R = 1 (the whole sequence is prefix), P = 0 and 1, P around borders of tiles (15 and 31 of 32),
/// lengths around strips (8, 16, 32), tiles (64, 128) and query blocks (256), with and without padding; head sizes that
/// are no multiple of a vector, and those that tensor cores take.
std::vector<Shape> shapes() {
  return {
      {{1}, {1}, 0, 1, 2},
      {{5, 1, 9}, {5, 1, 1}, 3, 2, 6},
      {{15, 16, 17, 31, 32, 33}, {1, 16, 9, 31, 5, 17}, 0, 3, 20},
      {{63, 64, 65, 7}, {64 - 1, 1, 65, 3}, 11, 2, 16},
      {{127, 129, 40}, {70, 64, 40}, 5, 1, 32},
      {{200, 130}, {1, 129}, 1, 2, 64},
      {{70}, {20}, 2, 1, 130},
      {{1, 63, 64, 65, 100, 130}, {1, 0, 64, 1, 47, 130}, 13, 1, 128},
      {{257, 31, 129}, {95, 31, 128}, 0, 2, 16},
  };
}

std::vector<std::int32_t> cumulative(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> sums = {0};
  for (const std::int32_t length : lengths) {
    sums.push_back(sums.back() + length);
  }
  return sums;
}

/// Whether rows start at 16-byte words, as those of the model do: what tensor cores ask for.
enum class Rows { aligned, unaligned };

/// One case with operands rounded to T, kept as column blocks of one wider buffer as the model keeps them.
template <class T>
struct Problem {
  Problem(const Shape& shape, MaskType type, double scale = 1.0, Rows rows = Rows::unaligned)
      : mask(type),
        cols(shape.heads * shape.head_dim),
        c{{},
          {},
          {},
          cumulative(shape.lengths),
          shape.prefixes,
          type == MaskType::causal,
          static_cast<std::size_t>(shape.heads),
          static_cast<std::size_t>(shape.head_dim)},
        tokens(c.cu_seqlens.back() + shape.padding),
        gap(rows == Rows::aligned ? round_up(3 * cols, 8) - cols : 2 * cols + 1) {
    c.q = rounded<T>(normals(tokens * cols, 1, scale));
    c.k = rounded<T>(normals(tokens * cols, 2, scale));
    c.v = rounded<T>(normals(tokens * cols, 3));
    upstream = rounded<T>(normals(tokens * cols, 4));
    kernels::attention_tiles({c.cu_seqlens, c.prefix_lens, mask, {}}, tiles);
  }

  kernels::SequenceLayout layout() const { return {c.cu_seqlens, c.prefix_lens, mask, tiles}; }
  Stored<T> stored(const Values& x) const { return Stored<T>(x, cols, gap); }
  Stored<T> empty() const { return Stored<T>(tokens, cols, gap); }
  std::int64_t heads() const { return static_cast<std::int64_t>(c.heads); }
  kernels::AttentionWorkspace workspace() const {
    kernels::AttentionWorkspace workspace(c.cu_seqlens.back(), static_cast<std::int64_t>(c.head_dim));
    if (test_stream().device == DeviceType::cuda) {
      workspace.memory = Buffer<float>(heads() * tokens, MemoryPart::workspace, test_device().staging());
    }
    return workspace;
  }

  MaskType mask;
  std::int64_t cols;
  reference::AttentionCase c;
  std::int64_t tokens;
  std::int64_t gap;
  Values upstream;
  std::vector<kernels::AttentionTile> tiles;
};

template <class T>
struct Result {
  explicit Result(const Problem<T>& p)
      : out(p.empty()),
        dq(p.empty()),
        dk(p.empty()),
        dv(p.empty()),
        lse(static_cast<std::size_t>(p.heads() * p.tokens), 5.0F) {
    kernels::AttentionWorkspace workspace = p.workspace();
    const Stored<T> q = p.stored(p.c.q);
    const Stored<T> k = p.stored(p.c.k);
    const Stored<T> v = p.stored(p.c.v);
    kernels::attention_forward<T>(test_stream(), p.layout(), p.heads(), q, k, v, out, lse, workspace);
    kernels::attention_backward<T>(test_stream(), p.layout(), p.heads(), q, k, v, out, lse, p.stored(p.upstream), dq,
                                   dk, dv, workspace);
  }

  Stored<T> out;
  Stored<T> dq;
  Stored<T> dk;
  Stored<T> dv;
  std::vector<float> lse;
};

template <class T>
class Attention : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Attention, Types);

/// Tensor cores round what they multiply to bf16, softmax weights and gradients of scores too: the same error as that
/// of the rounded result, once more.
template <class T>
double operand_roundings(const Shape& shape, Rows rows) {
  const bool sizes = shape.head_dim == 16 || shape.head_dim == 32 || shape.head_dim == 64 || shape.head_dim == 128;
  const bool tensor_cores = test_stream().device == DeviceType::cuda && sizes && rows == Rows::aligned;
  return std::is_same_v<T, bf16> && tensor_cores ? 1.0 : 0.0;
}

template <class T>
void expect_reference(const Shape& shape, MaskType mask, Rows rows) {
  SCOPED_TRACE(testing::Message() << "heads of " << shape.head_dim << ", mask " << static_cast<int>(mask) << ", rows "
                                  << static_cast<int>(rows));
  const Problem<T> p(shape, mask, 1.0, rows);

  const Result<T> r(p);

  const reference::AttentionGradient expected = reference::attention_gradient(p.c, p.upstream);
  // Scores are sums of head_dim products, of size up to ~10: their absolute error is the weights' relative one.
  const double steps = 32 + 2 * static_cast<double>(shape.head_dim);
  const double more = operand_roundings<T>(shape, rows);
  EXPECT_LT(error(reference::attention_lse(p.c), widened(r.lse)), steps * std::ldexp(1.0, -24));
  EXPECT_LT(error(reference::attention(p.c), r.out.values()), (1 + more) * tolerance<T>(steps));
  // The bf16 output enters the gradient rounded (dout · out): a second half unit, of a larger sum.
  EXPECT_LT(error(expected.dq, r.dq.values()), (4 + more) * tolerance<T>(steps));
  EXPECT_LT(error(expected.dk, r.dk.values()), (4 + more) * tolerance<T>(steps));
  EXPECT_LT(error(expected.dv, r.dv.values()), (2 + more) * tolerance<T>(steps));
  EXPECT_TRUE(r.out.gaps_untouched() && r.dq.gaps_untouched() && r.dk.gaps_untouched() && r.dv.gaps_untouched());
}

TYPED_TEST(Attention, EqualsReference) {
  on_each_target([] {
    for (const Shape& shape : shapes()) {
      expect_reference<TypeParam>(shape, MaskType::prefixlm, Rows::aligned);
      expect_reference<TypeParam>(shape, MaskType::causal, Rows::aligned);
      expect_reference<TypeParam>(shape, MaskType::prefixlm, Rows::unaligned);
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

TYPED_TEST(Attention, LargeScoresDoNotOverflow) {
  const Shape shape{{90}, {33}, 0, 1, 16};
  const Problem<TypeParam> p(shape, MaskType::prefixlm, 5.0, Rows::aligned);

  const Result<TypeParam> r(p);

  // Scores reach ~100 and carry absolute errors of ~100 * 2^-24 * sqrt(16).
  EXPECT_LT(error(reference::attention(p.c), r.out.values()), 1e-4 + 2 * tolerance<TypeParam>(0));
}

TYPED_TEST(Attention, IsTheSameOnAnyNumberOfThreads) {
  const Shape shape{{200, 33, 64, 150}, {30, 33, 1, 100}, 7, 3, 20};
  const Problem<TypeParam> p(shape, MaskType::prefixlm);
  const auto run = [&] {
    const Result<TypeParam> r(p);
    return std::vector{r.out.bytes(), r.dq.bytes(), r.dk.bytes(), r.dv.bytes()};
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

#ifndef HRM_TEST_CUDA
// Scratch of the host: a device has no limit to a sequence's length.
TEST(AttentionWorkspaceSize, ALongerSequenceIsRefused) {
  const Problem<float> p({{9}, {3}, 0, 1, 6}, MaskType::causal);
  kernels::AttentionWorkspace workspace(8, 6);
  Stored<float> out = p.empty();
  std::vector<float> lse(9);

  EXPECT_THROW(kernels::attention_forward<float>({}, p.layout(), 1, p.stored(p.c.q), p.stored(p.c.k), p.stored(p.c.v),
                                                 out, lse, workspace),
               InternalError);
}
#endif

/// The last token of every sequence against the keys and values of the whole sequence.
template <class T>
void expect_decoded_reference(std::int64_t head_dim, Rows rows) {
  SCOPED_TRACE(testing::Message() << "heads of " << head_dim << ", rows " << static_cast<int>(rows));
  const Shape shape{{1, 300, 64, 65}, {1, 9, 3, 64}, 0, 2, head_dim};
  const Problem<T> p(shape, MaskType::prefixlm, 1.0, rows);
  const Stored<T> k = p.stored(p.c.k);
  const Stored<T> v = p.stored(p.c.v);
  const Matrix<const T> keys = k;
  const Matrix<const T> values = v;
  const Values whole = reference::attention(p.c);
  std::vector<const T*> key_rows;
  std::vector<const T*> value_rows;
  Values last_q;
  Values expected;
  for (std::size_t s = 0; s < shape.lengths.size(); ++s) {
    key_rows.push_back(keys.row(p.c.cu_seqlens[s]));
    value_rows.push_back(values.row(p.c.cu_seqlens[s]));
    const auto last = (p.c.cu_seqlens[s + 1] - 1) * p.cols;
    last_q.insert(last_q.end(), p.c.q.begin() + last, p.c.q.begin() + last + p.cols);
    expected.insert(expected.end(), whole.begin() + last, whole.begin() + last + p.cols);
  }
  Stored<T> out(4, p.cols);

  kernels::attention_decode<T>(test_stream(), 2, Stored<T>(last_q, p.cols), key_rows, value_rows, shape.lengths,
                               keys.stride, out);

  EXPECT_LT(error(expected, out.values()), tolerance<T>(32 + 2 * static_cast<double>(head_dim)));
  EXPECT_TRUE(out.gaps_untouched());
}

TYPED_TEST(Attention, DecodeEqualsTheLastRowOfTheSequence) {
  on_each_target([] {
    for (const std::int64_t head_dim : {6, 20, 64, 128, 512}) {
      expect_decoded_reference<TypeParam>(head_dim, Rows::aligned);
      expect_decoded_reference<TypeParam>(head_dim, Rows::unaligned);
    }
  });
}

#ifdef HRM_TEST_CUDA
TYPED_TEST(Attention, AppendWritesTheLastRowOfEachCacheOnly) {
  Stored<TypeParam> caches(10, 6);
  const Stored<TypeParam> k(normals(12, 1), 6);
  const Stored<TypeParam> v(normals(12, 2), 6);
  const Matrix<TypeParam> rows = caches;
  const std::vector<TypeParam*> keys = {rows.row(0), rows.row(2)};
  const std::vector<TypeParam*> values = {rows.row(5), rows.row(7)};
  const std::vector<std::int32_t> lengths = {2, 3};
  Values expected = caches.values();
  const auto put = [&](std::int64_t to, const Stored<TypeParam>& from, std::int64_t row) {
    const Values x = from.values();
    std::copy_n(x.begin() + row * 6, 6, expected.begin() + to * 6);
  };
  put(1, k, 0);
  put(4, k, 1);
  put(6, v, 0);
  put(9, v, 1);

  kernels::cuda::attention_append<TypeParam>(test_stream(), k, v, keys, values, lengths, rows.stride);

  EXPECT_EQ(caches.values(), expected);
  EXPECT_TRUE(caches.gaps_untouched());
}
#endif

TEST(AttentionTiles, CoverEveryRowOnceAndStartWithThoseThatSeeMost) {
  const std::vector<std::int32_t> cu_seqlens = {0, 1, 130, 386, 1000};
  const std::vector<std::int32_t> prefixes = {1, 129, 7, 300};
  std::vector<kernels::AttentionTile> tiles(3);

  kernels::attention_tiles({cu_seqlens, prefixes, MaskType::prefixlm, {}}, tiles);

  std::vector<int> covered(1000, 0);
  std::int32_t before = 1000;
  for (const kernels::AttentionTile& tile : tiles) {
    const std::int32_t end = std::min<std::int32_t>(tile.begin + kernels::attention_tile, tile.length);
    const std::int32_t seen = std::max(tile.prefix, end);
    EXPECT_LE(seen, before);
    before = seen;
    for (std::int32_t row = tile.first + tile.begin; row < tile.first + end; ++row) {
      ++covered[static_cast<std::size_t>(row)];
    }
  }
  EXPECT_EQ(covered, std::vector<int>(1000, 1));
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
