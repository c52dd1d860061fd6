#include "base/error.hpp"
#include "kernels/matmul.hpp"
#include "kernels/matmul_emulation.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

constexpr std::int64_t rows = 70;
constexpr std::int64_t out = 260;
constexpr std::int64_t in = 130;

/// Bytes of a forward product and an input gradient with `weights`.
template <class T>
std::vector<unsigned char> products(const kernels::LinearWeights<T>& weights) {
  Stored<T> y(rows, out);
  Stored<T> dx(rows, in);
  kernels::linear_forward<T>({}, Stored<T>(normals(rows * in, 1), in), weights, y);
  kernels::linear_backward_input<T>({}, Stored<T>(normals(rows * out, 2), out), weights, dx);
  std::vector<unsigned char> result = y.bytes();
  const std::vector<unsigned char> more = dx.bytes();
  result.insert(result.end(), more.begin(), more.end());
  return result;
}

TEST(LinearWeights, RoundedValuesLoadLikeTheirMaster) {
  for (const bool emulated : {false, true}) {
    kernels::emulate_bf16(emulated);
    const std::vector<float> master = narrowed(normals(out * in, 3));
    std::vector<bf16> values;
    for (const float value : master) {
      values.push_back(to_bf16(value));
    }
    kernels::LinearWeights<bf16> from_master(out, in);
    kernels::LinearWeights<bf16> from_values(out, in);
    const std::int64_t primitives = kernels::primitives_created();

    from_master.load({}, master);
    from_values.load({}, std::span<const bf16>(values));

    EXPECT_EQ(kernels::primitives_created(), primitives);
    EXPECT_EQ(products(from_master), products(from_values)) << (emulated ? "emulated" : "native");
    EXPECT_THROW(from_values.load({}, std::span<const bf16>(values).first(7)), InternalError);
    kernels::emulate_bf16(false);
  }
}

}  // namespace
}  // namespace hrm::test
