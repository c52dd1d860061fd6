#pragma once
// Benchmarks: greedy answers to files of problems, scored.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "infer/generate.hpp"
#include "infer/problem.hpp"

namespace hrm::infer {

struct BenchmarkOptions {
  std::vector<std::filesystem::path> files;
  std::optional<Metric> metric;      ///< for all problems; else default_metric of each
  std::string condition = "direct";  ///< several joined by commas
  std::int64_t shots = 0;
  std::filesystem::path shots_file;  ///< where shots > 0
  std::int64_t limit = 0;            ///< first problems of each benchmark; 0: all
  GenerateOptions generate;          ///< letters: always one token
};

struct Score {
  std::int64_t n = 0;
  std::int64_t correct = 0;
  std::int64_t invalid = 0;  ///< replies without the form that the metric asks for; they count as wrong

  double score() const { return n > 0 ? static_cast<double>(correct) / static_cast<double>(n) : 0; }
};

struct BenchmarkScore {
  std::string name;
  Score total;
  std::map<std::string, Score> subjects;  ///< of problems that have one

  /// Mean over subjects of their scores.
  double subject_mean() const;
};

/// A problem with what the model said.
struct Graded {
  Problem problem;
  Metric metric;
  std::string reply;
  Verdict verdict;
};

struct BenchmarkReport {
  std::vector<BenchmarkScore> scores;  ///< in the order in which the files name them
  std::vector<Graded> replies;         ///< in the order of the files
};

/// Problems of options.files without replies, `limit` of each benchmark. InputError: 66 and 65 of read_problems, 65
/// where an answer does not fit its metric.
std::vector<Graded> read_benchmarks(const BenchmarkOptions& options);

/// Collective: the data ranks of the grid share the problems, which read_benchmarks() gave; the report is the same on
/// every rank and for any number of data ranks. InputError: those of shots_file, 75 of generate.
BenchmarkReport run_benchmarks(const comm::Grid& grid, const Model& model, const BenchmarkOptions& options,
                               std::vector<Graded> problems);
/// The same with problems that are read first.
BenchmarkReport run_benchmarks(const comm::Grid& grid, const Model& model, const BenchmarkOptions& options);

}  // namespace hrm::infer
