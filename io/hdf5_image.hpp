#pragma once
// A driver of the HDF5 library for files that this program writes: what the library writes is kept in memory, byte for
// byte, and goes to the disk in plain writes once the library has closed the file. So the library never meets a disk
// that fails. It does not survive one: it drops data that were left in its buffers without a word, and libhdf5 1.10
// crashes at the program's end. Data that are allocated but not written take no memory.
#include <hdf5.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "io/disk.hpp"

namespace hrm::io::h5 {

/// A file as the library sees it: what is on the disk, and over it what has been written since.
class Image {
 public:
  explicit Image(RawFile file);
  /// Bytes from `offset` on, zeros behind the end. 74 where the disk cannot read.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  void write(std::int64_t offset, std::span<const std::byte> data);
  std::int64_t length() const { return length_; }
  void resize(std::int64_t length) { length_ = length; }
  /// Gives the file on the disk its length and what was written, touches no other byte of it, and closes it; 74 where
  /// that fails.
  void save();

 private:
  void cut_out(std::int64_t begin, std::int64_t end);
  RawFile file_;
  std::int64_t on_disk_;
  std::int64_t length_;
  std::map<std::int64_t, std::vector<std::byte>> pieces_;  ///< by offset, disjoint
};

/// Lets H5Fcreate() and H5Fopen() with these access properties, while `image` exists, work on it whatever name they are
/// given.
void use_image(hid_t access, const std::shared_ptr<Image>& image);

}  // namespace hrm::io::h5
