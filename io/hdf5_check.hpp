#pragma once
// From HDF5's error stack to one message. For the files hdf5*.cpp only.
#include <string>

#include "base/error.hpp"
#include "io/hdf5.hpp"

namespace hrm::io::h5 {

/// Starts the library with its error printing off. Cheap after the first call.
void start_library();

/// Innermost entry of the library's error stack, which is cleared.
std::string library_words();

/// Throws unless `status` (an herr_t, htri_t, hid_t or ssize_t) is a success.
template <class Status>
Status check(Status status, const std::string& file, const std::string& object, const char* tried, bool writing) {
  if (status < 0) {
    fail(writing ? ExitCode::io_error : ExitCode::bad_data, "{}: {}: cannot {}: {}; {}", file, object, tried,
         library_words(), writing ? "check the disk" : "the file is damaged or not written by this program");
  }
  return status;
}

hid_t disk_type(Type type);
hid_t memory_type(Type type);
/// What a type on disk is in our terms.
Type classify(hid_t type);
/// Variable-length UTF-8 string.
Handle text_type();
/// Values of `from` fit into `to` unchanged.
bool widens(Type from, Type to);

}  // namespace hrm::io::h5
