#pragma once
// Files below HDF5: whole reads and writes at offsets, durable renames, free space. Errors name the file and the
// system's words: 66 missing, 73 cannot create, 74 I/O error. Each piece that is read or written is a sign of life.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hrm::io {

/// An open file descriptor, move-only.
class RawFile {
 public:
  /// write: existing file, read and write; create: new or truncated; direct: existing file, writes go past the page
  /// cache
  enum class Mode { read, write, append, create, direct };

  RawFile() = default;
  RawFile(const std::filesystem::path& path, Mode mode);
  /// The same without a failure: not open then.
  static RawFile try_open(const std::filesystem::path& path, Mode mode);
  RawFile(RawFile&& other) noexcept;
  RawFile& operator=(RawFile&& other) noexcept;
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;
  ~RawFile();

  bool is_open() const { return fd_ >= 0; }
  int descriptor() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }
  std::int64_t size() const;
  /// Fills `out` from `offset`; a file that ends before is 65.
  void read_at(std::int64_t offset, std::span<std::byte> out) const;
  void write_at(std::int64_t offset, std::span<const std::byte> data);
  /// The same, but where the system finds no fault except with the alignment, as mode direct does, it
  /// returns how many bytes were written.
  std::size_t write_direct(std::int64_t offset, std::span<const std::byte> data);
  /// At the end of the file (mode append), in one write.
  void append(std::string_view text);
  void truncate(std::int64_t bytes);
  /// Reserves room where the file system can; a full disk is 74 before anything is written. The file grows to `bytes`
  /// where it is smaller.
  void reserve(std::int64_t bytes);
  void sync();
  void close() noexcept;
  /// Closes after writing; what the system tells only now, as NFS does, is 74.
  void finish();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

/// Makes the folder and its parents; 73 where that fails or it cannot be written to.
void make_folder(const std::filesystem::path& folder);

/// Bytes an unprivileged user can still write into the file system of `folder`.
std::int64_t free_bytes(const std::filesystem::path& folder);

/// 73 naming folder, need and free space, unless `bytes` fit into it.
void require_space(const std::filesystem::path& folder, std::int64_t bytes, std::string_view what);

/// Tag of temporaries with a single writer at a time (the holder of a run's lock): what a killed process leaves is
/// overwritten by the next one.
inline constexpr const char* replacement_tag = "new";

/// ".NAME.TAG.tmp" beside `path`.
std::filesystem::path temporary_name(const std::filesystem::path& path, std::string_view tag);

/// Makes names that were created, renamed or removed in `folder` durable.
void sync_folder(const std::filesystem::path& folder);

/// Renames a finished file onto its final name and syncs the folder.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& path);

/// Replaces `path` by a file of this text: temporary of this tag, rename; `durable` syncs file and folder. A link or a
/// device of that name stays what it is: the text goes where it leads.
void replace_file(const std::filesystem::path& path, std::string_view text, bool durable,
                  std::string_view tag = replacement_tag);

std::string read_text(const std::filesystem::path& path);

/// "2025-01-31T12:00:00Z", now.
std::string utc_now();
/// The same, `seconds` from now.
std::string utc_after(double seconds);

std::string host_name();

}  // namespace hrm::io
