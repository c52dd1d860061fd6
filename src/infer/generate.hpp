#pragma once
// Answers to prompts: many at a time, a finished one's place is taken by the next prompt. What a prompt gets does not
// depend on the others, nor on how many ranks share them.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "infer/loaded_model.hpp"
#include "infer/prompt.hpp"
#include "infer/sampler.hpp"

namespace hrm::infer {

struct GenerateOptions {
  std::int64_t max_tokens = 512;  ///< of an answer, its end token included
  std::int64_t batch = 0;         ///< answers at a time; 0: up to 64, as many as fit into 1 GiB of cache
  SamplingOptions sampling = {};
};

/// Why an answer ends.
enum class Finish {
  end_of_answer,   ///< the model said so
  max_tokens,      ///< options.max_tokens
  context,         ///< model.max_seq_len
  prompt_too_long  ///< the prompt leaves no room: nothing was generated
};

const char* name(Finish finish);

struct Answer {
  Tokens tokens;  ///< without the end token
  Finish finish = Finish::prompt_too_long;
};

/// Answers in the order of `prompts`, on every rank. Collective: data ranks share the prompts, a tensor group answers
/// its own together. All ranks give the same arguments, but for the weights that `model` loads. InputError(stopped)
/// when a rank was asked to stop.
std::vector<Answer> generate(const comm::Grid& grid, const Model& model, std::span<const Tokens> prompts,
                             const GenerateOptions& options);

}  // namespace hrm::infer
