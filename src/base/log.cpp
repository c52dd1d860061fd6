#include "base/log.hpp"

#include <cstdio>

namespace hrm::log {
namespace {
int this_rank = 0;
}

void set_rank(int rank) {
  this_rank = rank;
}
int rank() {
  return this_rank;
}

void line(const std::string& text) {
  if (this_rank == 0) {
    std::fputs((text + "\n").c_str(), stderr);
    std::fflush(stderr);
  }
}

}  // namespace hrm::log
