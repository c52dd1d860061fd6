#include "io/hdf5_image.hpp"

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "base/error.hpp"

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

namespace hrm::io::h5 {
namespace {

constexpr std::size_t largest_write = std::size_t{1} << 20;

std::int64_t end_of(const std::pair<const std::int64_t, std::vector<std::byte>>& piece) {
  return piece.first + std::ssize(piece.second);
}

}  // namespace

Image::Image(RawFile file) : file_(std::move(file)), on_disk_(file_.size()), length_(on_disk_) {}

void Image::read(std::int64_t offset, std::span<std::byte> out) const {
  const std::int64_t end = offset + std::ssize(out);
  const auto stored = static_cast<std::size_t>(std::clamp<std::int64_t>(on_disk_ - offset, 0, std::ssize(out)));
  file_.read_at(offset, out.first(stored));
  std::ranges::fill(out.subspan(stored), std::byte{0});
  auto piece = pieces_.upper_bound(offset);
  if (piece != pieces_.begin()) {
    --piece;
  }
  for (; piece != pieces_.end() && piece->first < end; ++piece) {
    const std::int64_t from = std::max(piece->first, offset);
    const std::int64_t count = std::min(end_of(*piece), end) - from;
    if (count > 0) {
      std::copy_n(piece->second.begin() + (from - piece->first), count, out.begin() + (from - offset));
    }
  }
}

/// Forgets what was written to [begin, end).
void Image::cut_out(std::int64_t begin, std::int64_t end) {
  auto piece = pieces_.upper_bound(begin);
  if (piece != pieces_.begin()) {
    --piece;
  }
  while (piece != pieces_.end() && piece->first < end) {
    const std::int64_t first = piece->first;
    const std::int64_t last = end_of(*piece);
    if (last <= begin) {
      ++piece;
      continue;
    }
    std::vector<std::byte>& bytes = piece->second;
    if (last > end) {
      pieces_.emplace(end, std::vector(bytes.begin() + (end - first), bytes.end()));
    }
    bytes.resize(static_cast<std::size_t>(std::max<std::int64_t>(begin - first, 0)));
    piece = bytes.empty() ? pieces_.erase(piece) : std::next(piece);
  }
}

void Image::write(std::int64_t offset, std::span<const std::byte> data) {
  const std::int64_t end = offset + std::ssize(data);
  cut_out(offset, end);
  pieces_.emplace(offset, std::vector(data.begin(), data.end()));
  length_ = std::max(length_, end);
}

void Image::save() {
  file_.truncate(length_);
  std::vector<std::byte> joined;
  for (auto piece = pieces_.begin(); piece != pieces_.end();) {
    const std::int64_t offset = piece->first;
    joined.clear();
    do {
      joined.insert(joined.end(), piece->second.begin(), piece->second.end());
      ++piece;
    } while (piece != pieces_.end() && piece->first == offset + std::ssize(joined) && joined.size() < largest_write);
    file_.write_at(offset, joined);
  }
  file_.finish();
}

namespace {

/// What the library takes for an open file.
struct OpenImage : H5FD_t {
  explicit OpenImage(std::shared_ptr<Image> opened) : H5FD_t{}, image(std::move(opened)) {}
  std::shared_ptr<Image> image;
  haddr_t allocated = 0;  ///< where the library's own part of the file ends
};

OpenImage& self(H5FD_t* file) {
  return *static_cast<OpenImage*>(file);
}
const OpenImage& self(const H5FD_t* file) {
  return *static_cast<const OpenImage*>(file);
}

/// Runs what must not throw into the library, which is told of a failure with its reason.
template <class Work>
herr_t told(Work&& work) noexcept {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    H5Epush2(H5E_DEFAULT, __FILE__, "image", __LINE__, H5E_ERR_CLS, H5E_IO, H5E_READERROR, "%s", error.what());
    return -1;
  }
}

H5FD_t* open_image(const char*, unsigned, hid_t access, haddr_t) {
  return new OpenImage(**static_cast<const std::shared_ptr<Image>* const*>(H5Pget_driver_info(access)));
}

herr_t close_image(H5FD_t* file) {
  delete &self(file);
  return 0;
}

/// The same as of the library's driver for files: they decide where in the file things are put.
herr_t query(const H5FD_t*, unsigned long* features) {
  *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
              H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t end_of_allocated(const H5FD_t* file, H5FD_mem_t) {
  return self(file).allocated;
}

herr_t set_end_of_allocated(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  self(file).allocated = end;
  return 0;
}

haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) {
  return static_cast<haddr_t>(self(file).image->length());
}

herr_t read_image(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, void* buffer) {
  return told([&] {
    self(file).image->read(static_cast<std::int64_t>(address), std::span(static_cast<std::byte*>(buffer), size));
  });
}

herr_t write_image(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, const void* buffer) {
  return told([&] {
    self(file).image->write(static_cast<std::int64_t>(address), std::span(static_cast<const std::byte*>(buffer), size));
  });
}

herr_t truncate_image(H5FD_t* file, hid_t, hbool_t) {
  self(file).image->resize(static_cast<std::int64_t>(self(file).allocated));
  return 0;
}

hid_t register_driver() {
  H5FD_class_t driver{};
#if H5_VERSION_GE(1, 13, 0)
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(H5_VFD_RESERVED + 1);  // of drivers that are nobody else's
#endif
  driver.name = "hrm_image";
  driver.maxaddr = (haddr_t{1} << 63) - 1;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(const std::shared_ptr<Image>*);
  driver.open = open_image;
  driver.close = close_image;
  driver.query = query;
  driver.get_eoa = end_of_allocated;
  driver.set_eoa = set_end_of_allocated;
  driver.get_eof = end_of_file;
  driver.read = read_image;
  driver.write = write_image;
  driver.truncate = truncate_image;
  constexpr H5FD_mem_t kinds[] = H5FD_FLMAP_DICHOTOMY;  // as the library's driver for files
  std::ranges::copy(kinds, driver.fl_map);
  return H5FDregister(&driver);
}

}  // namespace

void use_image(hid_t access, const std::shared_ptr<Image>& image) {
  static const hid_t driver = register_driver();
  const std::shared_ptr<Image>* const info = &image;
  ensure(driver >= 0 && H5Pset_driver(access, driver, &info) >= 0, "the HDF5 library takes no driver");
}

}  // namespace hrm::io::h5
