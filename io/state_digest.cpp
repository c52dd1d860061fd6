#include "io/state_digest.hpp"

#include <vector>

#include "base/digest.hpp"
#include "base/error.hpp"

namespace hrm::io {
namespace {

std::uint64_t digest_of(const TensorPart& part) {
  std::uint64_t sum = 0;
  part.slice.for_each_run(part.first, part.count, [&](std::int64_t local, std::int64_t logical, std::int64_t count) {
    sum += digest(std::span(part.data + (local - part.first), static_cast<std::size_t>(count)),
                  static_cast<std::uint64_t>(logical));
  });
  return sum;
}

}  // namespace

std::map<std::string, std::uint64_t> tensor_digests(comm::Communicator& group, std::span<const TensorPart> parts) {
  std::map<std::string, std::uint64_t> digests;
  for (const TensorPart& part : parts) {
    digests[part.path] += part.count > 0 ? digest_of(part) : 0;
  }
  std::vector<std::uint64_t> sums;
  for (const auto& [path, sum] : digests) {
    sums.push_back(sum);
  }
  group.sum(std::span(sums));
  auto sum = sums.begin();
  for (auto& [path, digest] : digests) {
    digest = *sum++;
  }
  return digests;
}

std::uint64_t state_digest(comm::Communicator& group, std::span<const TensorPart> parts) {
  std::uint64_t total = 0;
  for (const auto& [path, digest] : tensor_digests(group, parts)) {
    total += state_digest_part(path, digest);
  }
  return total;
}

void check_restored(comm::Communicator& group, const CheckpointReader& checkpoint, std::span<const TensorPart> parts) {
  const std::map<std::string, std::uint64_t> digests = tensor_digests(group, parts);
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const auto restored = digests.find(tensor.path);
    if (restored != digests.end() && restored->second != tensor.digest) {
      fail(ExitCode::bad_data,
           "{}: {} is not what was stored: digest {} in memory, {} in the file; run again, and if that repeats, on "
           "other nodes or from an older checkpoint (--resume FILE)",
           checkpoint.path().string(), tensor.path, hex(restored->second), hex(tensor.digest));
    }
    total += state_digest_part(tensor.path, tensor.digest);
  }
  if (total != checkpoint.meta().state_digest) {
    fail(ExitCode::bad_data,
         "{}: its tensors have the state digest {}, it says {}; resume from an older checkpoint (--resume FILE)",
         checkpoint.path().string(), hex(total), hex(checkpoint.meta().state_digest));
  }
}

}  // namespace hrm::io
