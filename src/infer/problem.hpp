#pragma once
// Benchmark problems and the instructions that are made of them.
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "infer/scorer.hpp"

namespace hrm::infer {

/// One line {"benchmark", "question", "answer", "choices"?: [str], "subject"?}.
struct Problem {
  std::string benchmark;
  std::string subject;  ///< empty: none
  std::string question;
  std::string answer;  ///< with choices: a letter, A for the first
  std::vector<std::string> choices;
  std::string place;  ///< FILE:LINE
};

/// Problems of a JSONL file. A line without "benchmark" belongs to the one named like the file. InputError: 66, 65
/// naming file and line, for a benchmark's name too that reports use otherwise or that is none of a group in HDF5.
std::vector<Problem> read_problems(const std::filesystem::path& file);

/// How a problem is scored unless the user says otherwise: choices by letter, gsm8k and svamp by number, else exact.
Metric default_metric(const Problem& problem);

/// The first `count` shots of the problem's benchmark, and of its subject where both have one; never its own
/// question.
std::vector<const Problem*> shots_for(const Problem& problem, std::span<const Problem> shots, std::int64_t count);

/// Text that is asked: each shot followed by its answer and a blank line, then the question. With choices a block is
/// "QUESTION\nA. …\nB. …\nAnswer:" and a shot goes on with " X"; without, a shot is "QUESTION\nANSWER".
std::string instruction(const Problem& problem, std::span<const Problem* const> shots);

}  // namespace hrm::infer
