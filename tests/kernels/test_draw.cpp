#include "kernels/draw.hpp"

#include <map>
#include <numeric>

#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

using kernels::DrawRule;

std::vector<std::int32_t> drawn(const Values& logits, std::int64_t cols, const DrawRule& rule,
                                const std::vector<double>& numbers, std::int64_t gap = 3) {
  std::vector<std::int32_t> tokens(numbers.size(), -7);
  std::vector<std::uint64_t> weights(logits.size());
  kernels::draw_rows(test_stream(), Stored<float>(logits, cols, gap), rule, numbers, weights, tokens);
  return tokens;
}

/// What the rule says, with tokens sorted and sums of doubles; nothing within `edge` of the borders between tokens.
std::vector<std::int32_t> candidates(const float* logits, std::int64_t n, const DrawRule& rule, double number) {
  constexpr double edge = 1e-6;
  std::vector<double> weights;
  const float largest = *std::max_element(logits, logits + n);
  for (std::int64_t i = 0; i < n; ++i) {
    weights.push_back(std::exp(static_cast<double>(logits[i] - largest) / rule.temperature));
  }
  std::vector<double> sorted = weights;
  std::sort(sorted.rbegin(), sorted.rend());
  if (rule.top_k > 0 && rule.top_k < n) {
    sorted.resize(static_cast<std::size_t>(rule.top_k));
  }
  const double wanted = rule.top_p * std::accumulate(sorted.begin(), sorted.end(), 0.0);
  double reached = 0;
  double least = 0;
  for (std::size_t i = 0; i < sorted.size() && (i == 0 || reached < wanted * (1 - edge)); ++i) {
    reached += sorted[i];
    least = sorted[i];
  }
  double total = 0;
  for (double& weight : weights) {
    weight = weight >= least * (1 - 1e-9) ? weight : 0;
    total += weight;
  }
  std::vector<std::int32_t> found;
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0 && number * total < sum + weights[i] + edge * total && number * total >= sum - edge * total) {
      found.push_back(static_cast<std::int32_t>(i));
    }
    sum += weights[i];
  }
  return found;
}

TEST(Draw, IsTheTokenThatTheRuleSays) {
  for (const std::int64_t cols : {1, 7, 512, 1029, 9001}) {
    for (const DrawRule& rule : {DrawRule{1, 0, 1}, DrawRule{0.3, 0, 1}, DrawRule{1, 5, 1}, DrawRule{2, 0, 0.6},
                                 DrawRule{1, 40, 0.9}, DrawRule{1, 1, 1}}) {
      const std::int64_t rows = cols > 2000 ? 1 : 5;
      const Values logits = rounded<float>(normals(rows * cols, static_cast<std::uint64_t>(cols), 2.0));
      const std::vector<float> single = narrowed(logits);
      const RandomStream random(5, RandomPurpose::demo);
      std::vector<double> numbers;
      for (std::int64_t r = 0; r < rows; ++r) {
        numbers.push_back(random.uniform(static_cast<std::uint64_t>(r)));
      }

      const std::vector<std::int32_t> tokens = drawn(logits, cols, rule, numbers);

      for (std::int64_t r = 0; r < rows; ++r) {
        const auto row = static_cast<std::size_t>(r);
        const auto allowed = candidates(single.data() + r * cols, cols, rule, numbers[row]);
        EXPECT_NE(std::find(allowed.begin(), allowed.end(), tokens[row]), allowed.end())
            << tokens[row] << " of " << cols << ", top_k " << rule.top_k << ", top_p " << rule.top_p;
      }
    }
  }
}

TEST(Draw, EndsOfTheNumbersAreTheFirstAndTheLastKeptToken) {
  const Values logits = {-20, 1, 2, 1.5, -1000, 1, 2, 1.5};
  const double last = std::nextafter(1.0, 0.0);

  EXPECT_EQ(drawn(logits, 4, {}, {0, last}), (std::vector<std::int32_t>{0, 3}));
  EXPECT_EQ(drawn(logits, 4, {1, 2, 1}, {0, last}), (std::vector<std::int32_t>{2, 3}));
  EXPECT_EQ(drawn({0, -1000, 0, -1000}, 2, {}, {last, last}), (std::vector<std::int32_t>{0, 0}));
}

TEST(Draw, EqualTokensAtTheEdgeAreKeptTogether) {
  EXPECT_EQ(drawn({3, 2, 2, 0, 3, 2, 2, 0}, 4, {1, 2, 1}, {0.99, 0.0}), (std::vector<std::int32_t>{2, 0}));
}

TEST(Draw, PassesOverNotANumberAndTakesInfinity) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();

  EXPECT_EQ(drawn({nan, 1, nan, nan, nan, nan, 5, infinity, -infinity}, 3, {}, {0.5, 0.5, 0.5}),
            (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(drawn({nan, 1, nan, nan, nan, nan}, 3, {1, 2, 0.5}, {0.5, 0.5}), (std::vector<std::int32_t>{1, 0}));
}

TEST(Draw, IsTheSameOnAnyNumberOfThreads) {
  const Values logits = normals(9 * 700, 3);
  const std::vector<double> numbers = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

  EXPECT_TRUE(same_on_all_threads([&] { return drawn(logits, 700, {0.7, 100, 0.95}, numbers); }));
}

#ifndef HRM_TEST_CUDA  // thousands of blocks over the shim
TEST(Draw, FollowsTheProbabilities) {
  // 0.5, 0.1, 0.3, 0.1; five standard deviations of a share of 4,000 draws are below 0.04.
  const Values row = {std::log(0.5), std::log(0.1), std::log(0.3), std::log(0.1)};
  const std::int64_t draws = 4000;
  const RandomStream random(1, RandomPurpose::demo);
  Values logits;
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < draws; ++i) {
    logits.insert(logits.end(), row.begin(), row.end());
    numbers.push_back(random.uniform(static_cast<std::uint64_t>(i)));
  }
  const auto shares = [&](const DrawRule& rule) {
    std::map<std::int32_t, double> share;
    for (const std::int32_t token : drawn(logits, 4, rule, numbers)) {
      share[token] += 1.0 / static_cast<double>(draws);
    }
    return share;
  };

  EXPECT_NEAR(shares({}).at(0), 0.5, 0.04);
  EXPECT_NEAR(shares({}).at(2), 0.3, 0.04);
  EXPECT_NEAR(shares({}).at(3), 0.1, 0.04);
  EXPECT_NEAR(shares({0.5, 0, 1}).at(0), 0.25 / 0.36, 0.04);  // squared probabilities
  EXPECT_EQ(shares({1, 2, 1}).size(), 2U);
  EXPECT_EQ(shares({1, 0, 0.75}).size(), 2U);
  EXPECT_EQ(shares({1, 0, 0.01}).size(), 1U);
}
#endif

}  // namespace
}  // namespace hrm::test
