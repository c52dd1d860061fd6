#include "base/version.hpp"

#include "hrm_revision.hpp"

namespace hrm {

std::string program_version() {
  return HRM_VERSION;
}
std::string git_revision() {
  return HRM_GIT_REVISION;
}
std::string build_type() {
  return HRM_BUILD_TYPE;
}
std::string created_by() {
  return "hrm " + program_version() + " (" + git_revision() + ")";
}

}  // namespace hrm
