#include "io/integrity.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/disk.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t chunk_bytes = std::int64_t{4} << 20;  // a multiple of every element size

std::uint64_t text_digest(const h5::Dataset& dataset) {
  std::string bytes;
  for (const std::string& text : dataset.read_strings()) {
    bytes += text;
    bytes += '\0';
  }
  return digest_elements(bytes.data(), bytes.size(), 1, 0);
}

/// What the digest of a data set that is no text takes for an element.
std::int64_t digested_element(const h5::Dataset& dataset) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(h5::element_size(dataset.type())));
}

/// As HDF5 reads it.
std::uint64_t digest_in_memory(const h5::Dataset& dataset) {
  if (dataset.type() == h5::Type::string) {
    return text_digest(dataset);
  }
  const auto element_bytes = static_cast<std::size_t>(digested_element(dataset));
  const std::vector<std::byte> bytes = dataset.read_bytes();
  return digest_elements(bytes.data(), bytes.size() / element_bytes, element_bytes, 0);
}

/// Straight from the file: what HDF5 would read is what lies there.
std::uint64_t digest_on_disk(const h5::Dataset& dataset) {
  if (dataset.type() == h5::Type::string) {
    return text_digest(dataset);
  }
  const std::int64_t element_bytes = digested_element(dataset);
  const std::int64_t bytes = dataset.count() * dataset.element_bytes();
  const std::int64_t offset = dataset.offset();
  const RawFile file(dataset.file(), RawFile::Mode::read);
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(bytes, chunk_bytes)));
  std::uint64_t sum = 0;
  for (std::int64_t at = 0; at < bytes; at += chunk_bytes) {
    const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min(chunk_bytes, bytes - at)));
    file.read_at(offset + at, part);
    sum += digest_elements(part.data(), part.size() / static_cast<std::size_t>(element_bytes),
                           static_cast<std::size_t>(element_bytes), static_cast<std::uint64_t>(at / element_bytes));
  }
  return sum;
}

[[noreturn]] void refuse(const h5::File& file, const std::string& path, const std::string& what) {
  fail(ExitCode::bad_data, "{}: {}: {}; restore the file from a copy or write it anew", file.file(), path, what);
}

}  // namespace

DatasetDigests all_digests(const h5::File& file, const DatasetDigests& known) {
  DatasetDigests digests = known;
  for (const std::string& path : file.dataset_paths()) {
    if (path != integrity_path && !digests.contains(path)) {
      digests[path] = digest_in_memory(file.open_dataset(path));
    }
  }
  return digests;
}

void write_integrity(h5::File& file, const DatasetDigests& digests) {
  std::size_t name_bytes = 8;
  for (const auto& [path, digest] : digests) {
    name_bytes = std::max(name_bytes, (path.size() + 7) / 8 * 8);
  }
  std::vector<std::byte> rows(digests.size() * (name_bytes + sizeof(std::uint64_t)));
  std::byte* row = rows.data();
  for (const auto& [path, digest] : digests) {
    std::memcpy(row, path.data(), path.size());
    std::memcpy(row + name_bytes, &digest, sizeof digest);
    row += name_bytes + sizeof digest;
  }
  file.write_named_digests(integrity_path, name_bytes, rows);
}

DatasetDigests read_integrity(const h5::File& file) {
  const h5::Dataset table = file.open_dataset(integrity_path, h5::Type::compound, 1);
  const auto [name_at, name_bytes] = table.member("name");
  const auto [digest_at, digest_bytes] = table.member("digest");
  if (digest_bytes != sizeof(std::uint64_t)) {
    refuse(file, integrity_path, "the column digest is not uint64");
  }
  const std::vector<std::byte> rows = table.read_bytes();
  DatasetDigests digests;
  for (std::int64_t i = 0; i < table.count(); ++i) {
    const std::byte* row = rows.data() + i * table.element_bytes();
    const std::string name(reinterpret_cast<const char*>(row + name_at), name_bytes);
    std::memcpy(&digests[name.substr(0, name.find('\0'))], row + digest_at, sizeof(std::uint64_t));
  }
  return digests;
}

void verify_integrity(const h5::File& file) {
  const DatasetDigests stored = read_integrity(file);
  for (const std::string& path : file.dataset_paths()) {
    if (path != integrity_path && !stored.contains(path)) {
      refuse(file, path, "has no digest in /integrity");
    }
  }
  for (const auto& [path, digest] : stored) {
    const std::uint64_t found = digest_on_disk(file.open_dataset(path));
    if (found != digest) {
      refuse(file, path, fmt::format("is damaged: its digest is {}, {} when it was written", hex(found), hex(digest)));
    }
  }
}

}  // namespace hrm::io
