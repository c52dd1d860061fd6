#include "kernels/pack_sums.hpp"

#include <map>
#include <numeric>

#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

struct Rows {
  std::vector<float> loss;
  std::vector<std::int32_t> argmax;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> sequence;
};

/// Sequences of 1 to `longest` rows, of which about one in `wrong` is not predicted; numbers of sequences have gaps.
Rows some_rows(std::size_t count, std::uint64_t longest, std::uint64_t wrong, std::uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::demo);
  Rows rows;
  std::uint64_t left = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (left == 0) {
      left = 1 + stream.below(3 * i, longest);
      rows.sequence.push_back(rows.sequence.empty() ? 2 : rows.sequence.back() + (left % 2 == 0 ? 1 : 3));
    } else {
      rows.sequence.push_back(rows.sequence.back());
    }
    --left;
    rows.labels.push_back(static_cast<std::int32_t>(stream.below(3 * i + 1, 50)));
    rows.argmax.push_back(rows.labels.back() + (stream.below(3 * i + 2, wrong) == 0 ? 1 : 0));
    rows.loss.push_back(static_cast<float>(stream.normal(3 * i)) + 4.0F);
  }
  return rows;
}

kernels::PackSums sums_of(const Rows& rows) {
  std::vector<kernels::PackSums> sums = {{-1, -1, -1, -1, -1}};
  kernels::pack_sums(test_stream(), rows.loss, rows.argmax, rows.labels, rows.sequence, sums.data());
  return sums[0];
}

TEST(PackSums, EqualAPlainCount) {
  for (const std::size_t count : {0, 1, 31, 32, 33, 1023, 1024, 1025, 5000}) {
    for (const std::uint64_t longest : {1, 5, 90, 3000}) {
      for (const std::uint64_t wrong : {1, 2, 100, 1000000}) {
        const Rows rows = some_rows(count, longest, wrong, count + longest);
        std::map<std::int32_t, bool> exact;
        std::int64_t correct = 0;
        for (std::size_t r = 0; r < count; ++r) {
          const bool right = rows.argmax[r] == rows.labels[r];
          correct += right ? 1 : 0;
          exact.try_emplace(rows.sequence[r], true).first->second &= right;
        }
        const double loss = std::accumulate(rows.loss.begin(), rows.loss.end(), 0.0);

        const kernels::PackSums sums = sums_of(rows);

        EXPECT_NEAR(sums.loss_sum, loss, std::ldexp(static_cast<double>(count), -52) * 5 * static_cast<double>(count));
        EXPECT_EQ(sums.tokens, static_cast<std::int64_t>(count));
        EXPECT_EQ(sums.correct, correct);
        EXPECT_EQ(sums.sequences, std::ssize(exact));
        EXPECT_EQ(sums.exact, std::count_if(exact.begin(), exact.end(), [](const auto& s) { return s.second; }))
            << count << " rows, sequences up to " << longest << ", wrong 1 in " << wrong;
      }
    }
  }
}

TEST(PackSums, NotANumberReachesTheLoss) {
  Rows rows = some_rows(100, 5, 2, 1);
  rows.loss[77] = std::nanf("");

  EXPECT_TRUE(std::isnan(sums_of(rows).loss_sum));
}

TEST(PackSums, LossHasTheSameBitsEveryTime) {
  const Rows rows = some_rows(3000, 50, 3, 2);

  EXPECT_TRUE(same_on_all_threads([&] { return sums_of(rows).loss_sum; }));
}

}  // namespace
}  // namespace hrm::test
