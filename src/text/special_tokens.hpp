#pragma once
// HRM-Text's special tokens and what they are used for.
#include <array>
#include <cstdint>
#include <string_view>

namespace hrm::text {

class Tokenizer;

/// The 31 special tokens in the order of their ids.
inline constexpr std::array<std::string_view, 31> special_token_names = {"<|PAD|>",
                                                                         "<|direct|>",
                                                                         "<|cot|>",
                                                                         "<|noisy|>",
                                                                         "<|synth|>",
                                                                         "<|endoftext|>",
                                                                         "<|im_start|>",
                                                                         "<|im_end|>",
                                                                         "<|object_ref_start|>",
                                                                         "<|object_ref_end|>",
                                                                         "<|box_start|>",
                                                                         "<|box_end|>",
                                                                         "<|quad_start|>",
                                                                         "<|quad_end|>",
                                                                         "<|vision_start|>",
                                                                         "<|vision_end|>",
                                                                         "<|vision_pad|>",
                                                                         "<|image_pad|>",
                                                                         "<|video_pad|>",
                                                                         "<|fim_prefix|>",
                                                                         "<|fim_middle|>",
                                                                         "<|fim_suffix|>",
                                                                         "<|fim_pad|>",
                                                                         "<|repo_name|>",
                                                                         "<|file_sep|>",
                                                                         "<tool_call>",
                                                                         "</tool_call>",
                                                                         "<tool_response>",
                                                                         "</tool_response>",
                                                                         "<think>",
                                                                         "</think>"};

/// Tokens by role. The four conditions borrow tokens of other names, as the released models do.
struct SpecialRoles {
  std::uint32_t begin;               // <|im_start|>
  std::uint32_t end_of_instruction;  // <|im_end|>
  std::uint32_t end_of_answer;       // <|box_end|>
  std::uint32_t pad;                 // <|PAD|>
  std::uint32_t direct;              // <|object_ref_start|>
  std::uint32_t cot;                 // <|object_ref_end|>
  std::uint32_t noisy;               // <|quad_start|>
  std::uint32_t synth;               // <|quad_end|>
};

/// The ids of all roles; InputError(bad_data) naming the role and the token that the vocabulary lacks.
SpecialRoles roles(const Tokenizer& tokenizer);

}  // namespace hrm::text
