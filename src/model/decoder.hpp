#pragma once
// Generation: prompts in, logits of the next token out, then one token per sequence and step (golden A.11). Keys (after
// rope) and values of every stack call and layer are kept, so a step costs one token's work; the result equals a full
// re-evaluation with prefix_len = prompt length within rounding.
#include <cstdint>
#include <memory>
#include <span>

#include "base/device.hpp"
#include "base/matrix.hpp"
#include "base/parameter.hpp"
#include "config/run_config.hpp"
#include "kernels/draw.hpp"
#include "model/tensor_parallel.hpp"

namespace hrm::model {

/// What all memory of a decoder is allocated for.
struct DecoderLimits {
  std::int64_t max_batch = 1;      ///< sequences at a time: lanes 0 .. max_batch - 1
  std::int64_t max_context = 0;    ///< tokens of a sequence: its prompt and the generated ones that are fed back
  std::int64_t prefill_slots = 0;  ///< at least the longest prompt; shorter prompts share them
};

/// A prompt that starts in a lane; what the lane held before is forgotten.
struct Prompt {
  int lane = 0;
  std::span<const std::int32_t> tokens;  ///< at least 1
};

/// The token that continues the sequence of a lane.
struct NextToken {
  int lane = 0;
  std::int32_t token = 0;
};

/// Sequences in lanes. The logits of a sequence depend on its own tokens only, bit for bit: not on its lane, nor on
/// what the other lanes hold.
class Decoder {
 public:
  /// `config` is complete (sizes positive). All memory is allocated and every matrix product prepared here. With
  /// `parallel` every call is collective over the group, with the same arguments and the same whole logits everywhere.
  static std::unique_ptr<Decoder> make(const config::ModelConfig& config, Precision precision,
                                       const DecoderLimits& limits, const TensorParallel& parallel = {},
                                       Device& device = host_device());
  virtual ~Decoder() = default;

  virtual const ParameterTable& table() const = 0;
  /// Casts and reorders the masters (layout: table()), which are host memory. `zl_init` is empty for a transformer.
  /// Forgets all sequences.
  virtual void load(std::span<const float> flat, std::span<const float> zl_init) = 0;
  /// As Network::load_bucket and load_constant; forget all sequences too.
  virtual void load_bucket(int bucket, std::span<const std::byte> values) = 0;
  virtual void load_constant(std::span<const float> zl_init) = 0;

  /// Logits (prompts, padded vocabulary), in memory of the device, of the token that follows each prompt; row i belongs
  /// to prompts[i]. At most max_batch prompts, in distinct lanes. The view holds until the next call.
  virtual Matrix<const float> prefill(std::span<const Prompt> prompts) = 0;

  /// Feeds one token to each named lane: logits (tokens, padded vocabulary) of the one after it; row i belongs to
  /// tokens[i]. Lanes are distinct and were started by prefill. Memory as above.
  virtual Matrix<const float> step(std::span<const NextToken> tokens) = 0;

  /// What prefill() or step() has just returned where the host can read it, until the next call; waits for it.
  virtual Matrix<const float> on_host(Matrix<const float> logits) = 0;
  /// For each row of such logits the most likely of the tokens 0 .. vocabulary - 1, the lowest on a tie; waits for it.
  virtual std::span<const std::int32_t> most_likely(Matrix<const float> logits, std::int64_t vocabulary) = 0;
  /// The same with tokens drawn by the rule and one of `numbers` for each row (kernels/draw.hpp). The first call takes
  /// the memory that it needs.
  virtual std::span<const std::int32_t> draw(Matrix<const float> logits, std::int64_t vocabulary,
                                             const kernels::DrawRule& rule, std::span<const double> numbers) = 0;

  /// Tokens that a lane's sequence has so far; less than max_context where step() may go on.
  virtual std::int64_t length(int lane) const = 0;
};

}  // namespace hrm::model
