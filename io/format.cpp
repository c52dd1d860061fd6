#include "io/format.hpp"

#include "base/error.hpp"
#include "base/version.hpp"

namespace hrm::io {

void write_format(h5::File& file, const std::string& format) {
  file.set_attribute("format", format);
  file.set_attribute("format_version", format_version);
  file.set_attribute("created_by", created_by());
}

void check_format(const h5::File& file, const std::string& format) {
  const std::string found = file.string_attribute("format");
  if (found != format) {
    fail(ExitCode::bad_data, "{}: its format is \"{}\", expected \"{}\"; give a file of that kind", file.file(), found,
         format);
  }
  const std::int64_t version = file.int64_attribute("format_version");
  if (version < 1 || version > format_version) {
    fail(ExitCode::bad_data, "{}: has format version {}, this program reads 1 to {}; use a newer program", file.file(),
         version, format_version);
  }
}

}  // namespace hrm::io
