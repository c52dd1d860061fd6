#include "kernels/matmul.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "kernels/matmul_emulation.hpp"
#include "tests/support/reference_matmul.hpp"

namespace hrm::kernels {
namespace {

/// A matrix inside a wider buffer: `margin` columns before and after hold a mark that no product may touch.
template <class T>
class Framed {
 public:
  Framed(std::int64_t rows, std::int64_t cols, std::int64_t margin, std::uint32_t stream)
      : view_(nullptr, rows, cols, cols + 2 * margin),
        margin_(margin),
        values_(static_cast<std::size_t>(rows * view_.stride), from_float<T>(mark)) {
    view_.data = values_.data() + margin;
    const RandomStream random(7, RandomPurpose::initial_weights, stream);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) {
        const auto index = static_cast<std::uint64_t>(r * cols + c);
        view_.row(r)[c] = from_float<T>(static_cast<float>(random.uniform(index) - 0.5));
      }
    }
  }
  Framed(const Framed&) = delete;
  Framed& operator=(const Framed&) = delete;

  operator Matrix<T>() const { return view_; }
  operator Matrix<const T>() const { return view_; }
  Matrix<T> view() const { return view_; }
  Matrix<const T> read() const { return view_; }
  bool margins_untouched() const {
    for (std::int64_t r = 0; r < view_.rows; ++r) {
      for (std::int64_t c = 0; c < margin_; ++c) {
        if (to_float(view_.row(r)[-1 - c]) != mark || to_float(view_.row(r)[view_.cols + c]) != mark) {
          return false;
        }
      }
    }
    return true;
  }
  std::vector<T> packed() const {
    std::vector<T> all;
    for (std::int64_t r = 0; r < view_.rows; ++r) {
      all.insert(all.end(), view_.row(r), view_.row(r) + view_.cols);
    }
    return all;
  }

 private:
  static constexpr float mark = 1024.0F;
  Matrix<T> view_;
  std::int64_t margin_;
  std::vector<T> values_;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Largest error of `actual` in units of what float32 sums and one rounding to T allow; at most 1 is right.
template <class T>
double worst(Matrix<const T> actual, const test::ReferenceProduct& expected, const std::vector<T>* start = nullptr) {
  const double rounding = std::is_same_v<T, bf16> ? std::ldexp(1.0, -8) : std::ldexp(1.0, -23);
  double largest = 0;
  for (std::int64_t i = 0; i < expected.rows * expected.cols; ++i) {
    const double before = start ? static_cast<double>(to_float((*start)[static_cast<std::size_t>(i)])) : 0;
    const double value = before + expected.value[static_cast<std::size_t>(i)];
    const double got = test::element(actual, i / expected.cols, i % expected.cols);
    largest = std::max(largest, std::abs(got - value) / (expected.tolerance(i) + rounding * std::abs(value) + 1e-30));
  }
  return largest;
}

struct Shape {
  std::int64_t rows;
  std::int64_t out;
  std::int64_t in;
};

/// A weight in compute type and the master it comes from.
template <class T>
struct TestWeight {
  explicit TestWeight(Shape s) : master(s.out, s.in, 0, 11), rounded(s.out, s.in, 0, 11), linear(s.out, s.in) {
    linear.load({}, {master.view().data, static_cast<std::size_t>(s.out * s.in)});
  }
  Framed<float> master;  // (out, in)
  Framed<T> rounded;     // (out, in)
  LinearWeights<T> linear;
};

struct Fp32 {
  using Type = float;
  static constexpr bool emulated = false;
};
struct Bf16 {
  using Type = bf16;
  static constexpr bool emulated = false;
};
struct EmulatedBf16 {
  using Type = bf16;
  static constexpr bool emulated = true;
};

template <class Kind>
class Matmul : public testing::Test {
 protected:
  void SetUp() override { emulate_bf16(Kind::emulated); }
  void TearDown() override {
    emulate_bf16(false);
    omp_set_num_threads(threads_);
  }

 private:
  int threads_ = omp_get_max_threads();
};

using Kinds = testing::Types<Fp32, Bf16, EmulatedBf16>;
TYPED_TEST_SUITE(Matmul, Kinds);

// Odd sizes, one row, several column slabs, strips of 64, 128 and 256 rows with and without a rest.
const std::vector<Shape> product_shapes = {{37, 40, 24},   {1, 600, 256},   {5, 1024, 100},
                                           {64, 768, 256}, {100, 129, 65},  {300, 64, 768},
                                           {1100, 48, 33}, {2048, 16, 256}, {2100, 33, 40}};

TYPED_TEST(Matmul, ForwardIsTheProductWithTheTransposedWeight) {
  using T = typename TypeParam::Type;
  for (const Shape s : product_shapes) {
    const TestWeight<T> w(s);
    const Framed<T> x(s.rows, s.in, 0, 1);
    const Framed<T> y(s.rows, s.out, 0, 2);

    linear_forward<T>({}, x, w.linear, y);

    EXPECT_LE(worst(y.read(), test::reference_forward(x.read(), w.rounded.read())), 1) << s.rows << "x" << s.out;
  }
}

TYPED_TEST(Matmul, ForwardAddsBeforeRounding) {
  using T = typename TypeParam::Type;
  for (const Shape s : product_shapes) {
    const TestWeight<T> w(s);
    const Framed<T> x(s.rows, s.in, 0, 1);
    const Framed<T> y(s.rows, s.out, 0, 2);
    const std::vector<T> before = y.packed();

    linear_forward<T>({}, x, w.linear, y, true);

    EXPECT_LE(worst(y.read(), test::reference_forward(x.read(), w.rounded.read()), &before), 1) << s.rows;
  }
}

TYPED_TEST(Matmul, LogitsAreNotRounded) {
  using T = typename TypeParam::Type;
  for (const Shape s : {Shape{64, 520, 256}, Shape{130, 77, 32}}) {
    const TestWeight<T> w(s);
    const Framed<T> x(s.rows, s.in, 3, 1);
    const Framed<float> y(s.rows, s.out, 2, 2);

    linear_forward_f32<T>({}, x, w.linear, y);

    EXPECT_LE(worst(y.read(), test::reference_forward(x.read(), w.rounded.read())), 1);
    EXPECT_TRUE(y.margins_untouched());
  }
}

TYPED_TEST(Matmul, BackwardInputIsTheProductWithTheWeight) {
  using T = typename TypeParam::Type;
  for (const Shape s : product_shapes) {
    const TestWeight<T> w(s);
    const Framed<T> dy(s.rows, s.out, 0, 1);
    const Framed<T> dx(s.rows, s.in, 0, 2);

    linear_backward_input<T>({}, dy, w.linear, dx);

    EXPECT_LE(worst(dx.read(), test::reference_backward_input(dy.read(), w.rounded.read())), 1) << s.rows;
  }
}

TYPED_TEST(Matmul, ViewsIntoWiderBuffersGiveTheBitsOfDenseMatrices) {
  using T = typename TypeParam::Type;
  for (const Shape s : product_shapes) {
    const TestWeight<T> w(s);
    const Framed<T> dy(s.rows, s.out, 0, 1);
    const Framed<T> dense(s.rows, s.in, 0, 2);
    const Framed<T> wide_dy(s.rows, s.out, 5, 1);
    const Framed<T> wide(s.rows, s.in, 8, 2);

    linear_backward_input<T>({}, dy, w.linear, dense, true);
    linear_backward_input<T>({}, wide_dy, w.linear, wide, true);

    EXPECT_TRUE(same_bits(dense.packed(), wide.packed())) << s.rows << "x" << s.in;
    EXPECT_TRUE(wide.margins_untouched());
  }
}

// Rests of every direction, several chunks of rows, and the smallest and largest tiles.
const std::vector<Shape> gradient_shapes = {{40, 37, 24},   {1, 65, 130},     {512, 64, 64}, {600, 256, 256},
                                            {4096, 48, 80}, {1100, 300, 520}, {64, 1024, 33}};

TYPED_TEST(Matmul, BackwardWeightIsTheSumOverRows) {
  using T = typename TypeParam::Type;
  for (const Shape s : gradient_shapes) {
    const Framed<T> dy(s.rows, s.out, 0, 1);
    const Framed<T> x(s.rows, s.in, 0, 2);
    const Framed<float> dw(s.out, s.in, 0, 3);

    linear_backward_weight<T>({}, dy, x, dw, false);

    EXPECT_LE(worst(dw.read(), test::reference_backward_weight(dy.read(), x.read())), 1) << s.rows << "x" << s.out;
  }
}

TYPED_TEST(Matmul, BackwardWeightOfViewsAdds) {
  using T = typename TypeParam::Type;
  for (const Shape s : gradient_shapes) {
    const Framed<T> dy(s.rows, s.out, 7, 1);
    const Framed<T> x(s.rows, s.in, 4, 2);
    const Framed<float> dw(s.out, s.in, 3, 3);
    const std::vector<float> before = dw.packed();

    linear_backward_weight<T>({}, dy, x, dw, true);

    EXPECT_LE(worst(dw.read(), test::reference_backward_weight(dy.read(), x.read()), &before), 1) << s.rows;
    EXPECT_TRUE(dw.margins_untouched());
  }
}

TYPED_TEST(Matmul, NoRowsGiveNoProductAndAZeroGradient) {
  using T = typename TypeParam::Type;
  const TestWeight<T> w({0, 40, 24});
  const Framed<T> x(0, 24, 0, 1);
  const Framed<T> y(0, 40, 0, 2);
  const Framed<float> kept(40, 24, 2, 3);
  const Framed<float> zeroed(40, 24, 2, 3);

  linear_forward<T>({}, x, w.linear, y);
  linear_backward_input<T>({}, y, w.linear, x);
  linear_backward_weight<T>({}, y, x, kept, true);
  linear_backward_weight<T>({}, y, x, zeroed, false);

  EXPECT_TRUE(same_bits(kept.packed(), Framed<float>(40, 24, 2, 3).packed()));
  EXPECT_TRUE(same_bits(zeroed.packed(), std::vector<float>(40 * 24, 0.0F)));
  EXPECT_TRUE(zeroed.margins_untouched());
}

/// Bits of every product of one shape, as views and as dense matrices.
template <class T>
std::vector<float> all_products(Shape s, const TestWeight<T>& w, std::int64_t margin) {
  const Framed<T> x(s.rows, s.in, margin, 1);
  const Framed<T> dy(s.rows, s.out, margin, 2);
  const Framed<T> y(s.rows, s.out, margin, 3);
  const Framed<T> dx(s.rows, s.in, margin, 4);
  const Framed<float> dw(s.out, s.in, margin, 5);
  const Framed<float> logits(s.rows, s.out, margin, 6);
  linear_forward<T>({}, x, w.linear, y, true);
  linear_forward_f32<T>({}, x, w.linear, logits);
  linear_backward_input<T>({}, dy, w.linear, dx);
  linear_backward_weight<T>({}, dy, x, dw, true);
  std::vector<float> all = dw.packed();
  for (const auto& part : {y.packed(), dx.packed()}) {
    for (const T value : part) {
      all.push_back(to_float(value));
    }
  }
  for (const float value : logits.packed()) {
    all.push_back(value);
  }
  return all;
}

TYPED_TEST(Matmul, BitsDoNotDependOnTheNumberOfThreads) {
  using T = typename TypeParam::Type;
  const std::vector<Shape> shapes = {{37, 40, 24},    {1, 1024, 256}, {64, 768, 256}, {512, 512, 256},
                                     {2048, 64, 256}, {1100, 96, 33}, {4096, 64, 64}, {192, 33, 4096}};
  for (const Shape s : shapes) {
    const TestWeight<T> w(s);
    for (const std::int64_t margin : {0, 3}) {
      omp_set_num_threads(1);
      const std::vector<float> one = all_products(s, w, margin);
      for (const int threads : {2, 3, 8}) {
        omp_set_num_threads(threads);
        EXPECT_TRUE(same_bits(one, all_products(s, w, margin)))
            << s.rows << "x" << s.out << "x" << s.in << " " << threads;
      }
    }
  }
}

TYPED_TEST(Matmul, PreparedProductsCreateNothing) {
  using T = typename TypeParam::Type;
  const std::vector<Shape> shapes = {{64, 832, 320}, {320, 832, 320}, {1024, 832, 320}, {1100, 832, 320}};
  for (const Shape s : shapes) {
    prepare_linear<T>(s.rows, s.out, s.in);
  }
  const TestWeight<T> w(shapes.front());
  const std::int64_t created = primitives_created();
  const std::size_t memory = memory_bytes(MemoryPart::workspace);

  for (const Shape s : shapes) {
    all_products(s, w, 0);
  }
  linear_forward<T>({}, Framed<T>(1100, 320, 4, 1), w.linear, Framed<T>(1100, 832, 4, 2), true);

  EXPECT_EQ(primitives_created(), created);
  EXPECT_EQ(memory_bytes(MemoryPart::workspace), memory);
}

TYPED_TEST(Matmul, LoadRoundsTheMasterToTheComputeType) {
  using T = typename TypeParam::Type;
  const std::int64_t n = 96;
  const TestWeight<T> w({n, 520, n});
  Framed<T> identity(n, n, 0, 1);
  for (std::int64_t i = 0; i < n * n; ++i) {
    identity.view().data[i] = from_float<T>(i % (n + 1) == 0 ? 1.0F : 0.0F);
  }
  const Framed<T> y(n, 520, 0, 2);

  linear_forward<T>({}, identity, w.linear, y);

  for (std::int64_t i = 0; i < n * 520; ++i) {
    ASSERT_EQ(test::element(y.read(), i / 520, i % 520), test::element(w.rounded.read(), i % 520, i / 520)) << i;
  }
}

TYPED_TEST(Matmul, PackedCopiesCountAsWeights) {
  using T = typename TypeParam::Type;
  const std::size_t before = memory_bytes(MemoryPart::weights);
  const LinearWeights<T> w(256, 128);

  EXPECT_GE(memory_bytes(MemoryPart::weights) - before, 2 * 256 * 128 * sizeof(T));
  EXPECT_EQ(w.out(), 256);
  EXPECT_EQ(w.in(), 128);
}

TYPED_TEST(Matmul, WrongShapesAreOurBug) {
  using T = typename TypeParam::Type;
  const TestWeight<T> w({4, 8, 16});
  const LinearWeights<T> inference(8, 16, false);
  const Framed<T> x(4, 16, 0, 1);
  const Framed<T> y(4, 8, 0, 2);
  const Framed<T> wrong(4, 9, 0, 2);

  EXPECT_THROW(linear_forward<T>({}, x, w.linear, wrong), InternalError);
  EXPECT_THROW(linear_backward_input<T>({}, y, inference, x), InternalError);
  EXPECT_THROW(linear_backward_weight<T>({}, wrong, x, Framed<float>(8, 16, 0, 3), false), InternalError);
}

TEST(MatmulLibrary, NamesItselfAndItsInstructions) {
  EXPECT_EQ(matmul_library().rfind("oneDNN ", 0), 0U);
  EXPECT_FALSE(instruction_set().empty());
}

/// Worst error of a forward product and a weight gradient in bf16.
double worst_of_bf16() {
  const Shape s{300, 130, 65};
  const TestWeight<bf16> w(s);
  const Framed<bf16> x(s.rows, s.in, 0, 1);
  const Framed<bf16> y(s.rows, s.out, 0, 2);
  const Framed<float> dw(s.out, s.in, 0, 3);
  linear_forward<bf16>({}, x, w.linear, y);
  const double forward = worst(y.read(), test::reference_forward(x.read(), w.rounded.read()));
  linear_backward_weight<bf16>({}, y, x, dw, false);
  return std::max(forward, worst(dw.read(), test::reference_backward_weight(y.read(), x.read())));
}

// The library reads its limit once, so a new process is needed: a death test in "threadsafe" style is one.
TEST(MatmulLibraryDeathTest, WithoutBf16InstructionsBf16ProductsAreEmulated) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const char* isa : {"AVX2", "AVX512_CORE"}) {
    setenv("ONEDNN_MAX_CPU_ISA", isa, 1);
    EXPECT_EXIT(std::exit(!native_bf16() && worst_of_bf16() <= 1 ? 0 : 1), testing::ExitedWithCode(0), "") << isa;
  }
  unsetenv("ONEDNN_MAX_CPU_ISA");
}

TEST(MatmulLibrary, EmulationIsNotNative) {
  emulate_bf16(true);
  const bool native = native_bf16();
  emulate_bf16(false);

  EXPECT_FALSE(native);
}

}  // namespace
}  // namespace hrm::kernels
