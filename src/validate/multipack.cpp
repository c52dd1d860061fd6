// Packing of samples into batches (golden C.6), exactly.
#include "data/multipack.hpp"

#include <numeric>

#include "validate/cases.hpp"
#include "validate/json_file.hpp"

namespace hrm::validate {
namespace {

using Ints = std::vector<std::int64_t>;

struct MultipackCase {
  Ints lengths;
  std::int64_t capacity;
  std::int64_t packs;
  bool drop_last;
};

MultipackCase read_case(const std::string& file, const std::string& place, const nlohmann::json& content) {
  MultipackCase read{member<Ints>(file, place, content, "lengths"),
                     member<std::int64_t>(file, place, content, "batch_max_length"),
                     member<std::int64_t>(file, place, content, "num_replicas"),
                     member<bool>(file, place, content, "drop_last_batch")};
  constexpr std::int64_t most = std::int64_t{1} << 31;
  bool legal = read.capacity > 0 && read.capacity < most && read.packs > 0 && read.packs < (1 << 20);
  for (const std::int64_t length : read.lengths) {
    legal = legal && length > 0 && length < most;
  }
  if (!legal) {
    fail(ExitCode::bad_data, "{}: {}: lengths, batch_max_length and num_replicas must be positive", file, place);
  }
  return read;
}

/// All batches of pack `pack`, step after step, each ended by -1 so that a shifted border shows.
Ints flattened(const std::vector<data::PackedPositions>& batches, std::int64_t pack) {
  Ints all;
  for (const data::PackedPositions& batch : batches) {
    const auto part = batch.pack(pack);
    all.insert(all.end(), part.begin(), part.end());
    all.push_back(-1);
  }
  return all;
}

Ints flattened(const std::vector<Ints>& batches) {
  Ints all;
  for (const Ints& batch : batches) {
    all.insert(all.end(), batch.begin(), batch.end());
    all.push_back(-1);
  }
  return all;
}

std::int64_t tokens(const std::vector<data::PackedPositions>& batches, const Ints& lengths) {
  std::int64_t sum = 0;
  for (const data::PackedPositions& batch : batches) {
    for (const std::int64_t position : batch.positions) {
      sum += lengths[static_cast<std::size_t>(position)];
    }
  }
  return sum;
}

void validate_case(const std::string& file, const std::string& place, const nlohmann::json& content, Report& report) {
  const MultipackCase given = read_case(file, place, content);
  const auto expected = member<std::vector<std::vector<Ints>>>(file, place, content, "batches_per_rank");
  const auto batches = data::plan_epoch(given.lengths, given.capacity, given.packs, given.drop_last);
  const auto steps = static_cast<std::int64_t>(batches.size());

  report.count(place + "/num_steps", steps, member<std::int64_t>(file, place, content, "num_steps"));
  report.count(place + "/num_replicas", given.packs, static_cast<std::int64_t>(expected.size()));
  report.count(place + "/used_tokens", tokens(batches, given.lengths),
               member<std::int64_t>(file, place, content, "used_tokens"));
  report.count(place + "/slot_tokens", steps * given.capacity * given.packs,
               member<std::int64_t>(file, place, content, "slot_tokens"));
  for (std::size_t pack = 0; pack < expected.size(); ++pack) {
    const bool planned = static_cast<std::int64_t>(pack) < given.packs;
    report.counts(fmt::format("{}/batches_per_rank/{}", place, pack),
                  planned ? flattened(batches, static_cast<std::int64_t>(pack)) : Ints(), flattened(expected[pack]));
  }
}

}  // namespace

void validate_multipack(const std::string& file, const nlohmann::json& content, Report& report) {
  const auto cases = member<nlohmann::json::array_t>(file, "file", content, "cases");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    validate_case(file, fmt::format("cases/{}", i), cases[i], report);
  }
}

}  // namespace hrm::validate
