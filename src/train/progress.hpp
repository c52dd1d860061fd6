#pragma once
// One progress line per logged step on standard error: rewritten in place on a terminal, plain lines elsewhere.
#include <cstdint>
#include <string>

namespace hrm::train {

struct ProgressLine {
  std::int64_t step = 0;
  std::int64_t planned_steps = 0;
  double loss = 0;      ///< nats per supervised token
  double accuracy = 0;  ///< of supervised tokens
  double tokens_per_second = 0;
  double seconds_left = 0;
};

/// "step 120/1000  loss 2.3451  accuracy 0.512  12.3k tokens/s  ETA 0:03:12".
std::string to_text(const ProgressLine& line);

class Progress {
 public:
  Progress();
  void show(const ProgressLine& line);
  /// Ends the line that is being rewritten, before other output.
  void finish();

 private:
  bool terminal_;
  bool open_ = false;
};

}  // namespace hrm::train
