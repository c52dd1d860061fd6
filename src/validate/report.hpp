#pragma once
// Compares computed with expected quantities and prints one line for each:
//   FILE quantity max_relative_error limit PASS|FAIL
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/device.hpp"
#include "comm/communicator.hpp"

namespace hrm::validate {

/// Allowed errors, each max |computed - expected| / max |expected| over one tensor (golden D).
struct Limits {
  double value;     ///< outputs, losses, states of the optimizer
  double gradient;  ///< gradients
};

/// float32: 1e-5 and gradients 2e-5, the limits that golden D calls reasonable: ten times what a float32 evaluation
/// needs, a tenth of what the mildest mistake shows.
inline constexpr Limits fp32_limits{1e-5, 2e-5};

/// bfloat16: a stored number is off by at most u = 2^-8 of itself. One operation rounds its inputs and its output: 3 u
/// of the largest element where no term cancels. Its backward pass rounds an intermediate more, and the attention's
/// takes the difference of two rounded numbers of like size (dP and its mean under P): 10 u.
inline constexpr double bf16_unit = 1.0 / 256;
inline constexpr Limits bf16_operation_limits{3 * bf16_unit, 10 * bf16_unit};

/// bfloat16, a model: every stored activation on the longest path adds an independent rounding, so the error of a state
/// at unit RMS is about u sqrt(roundings / 3) in the mean (a rounding error is uniform in ±u/2 … ±u). The limits are 6
/// of these for the worst element of a tensor, and 12 for gradients, whose path is twice as long and passes softmax and
/// norm derivatives.
Limits bf16_model_limits(std::int64_t roundings);

/// All ranks report the same quantities in the same order: each is judged by the rank that is worst off, and rank 0
/// prints its line.
class Report {
 public:
  /// `tolerance` > 0 replaces every limit of a real quantity. `world` outlives this object.
  Report(comm::Communicator& world, Precision precision, double tolerance)
      : world_(world), precision_(precision), tolerance_(tolerance) {}

  void begin_file(std::string file) { file_ = std::move(file); }
  Precision precision() const { return precision_; }

  /// max |computed - expected| / `scale`, scale = max |expected| where not given; where that is 0 the largest absolute
  /// difference. Not a number fails, other lengths are an InternalError.
  void reals(const std::string& quantity, std::span<const double> computed, std::span<const double> expected,
             double limit, double scale = 0);
  void real(const std::string& quantity, double computed, double expected, double limit);
  /// Whole numbers must be equal; the error printed is the largest difference.
  void counts(const std::string& quantity, std::span<const std::int64_t> computed,
              std::span<const std::int64_t> expected);
  void count(const std::string& quantity, std::int64_t computed, std::int64_t expected);

  bool passed() const { return failures_ == 0; }
  /// Lines printed so far; a file that yields none is no test.
  std::int64_t lines() const { return lines_; }

 private:
  void line(const std::string& quantity, double error, double limit);

  comm::Communicator& world_;
  Precision precision_;
  double tolerance_;
  std::string file_;
  std::int64_t lines_ = 0;
  std::int64_t failures_ = 0;
};

}  // namespace hrm::validate
