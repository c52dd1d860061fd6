#include "simt/async_copies.hpp"

#include <cstdint>

#include "simt/control.hpp"

namespace hrm::simt {

namespace {

// Two plain words: ThreadSanitizer does not see a memcpy of 16 bytes that the compiler turns into vector instructions.
using Word __attribute__((may_alias)) = std::uint64_t;

}  // namespace

void PendingCopies::Copy::land() const {
  auto* target = static_cast<Word*>(to);
  const auto* source = static_cast<const Word*>(from);
  for (int i = 0; i < 2; ++i) {
    target[i] = source == nullptr ? 0 : source[i];
  }
}

void PendingCopies::issue(void* shared, const void* global, bool valid) {
  const Copy copy{shared, valid ? global : nullptr};
  if (settings().copies == AsyncCopies::eager) {
    copy.land();
    return;
  }
  copies_.push_back(copy);
}

void PendingCopies::commit() {
  ends_.push_back(copies_.size());
}

void PendingCopies::wait(std::size_t pending) {
  while (ends_.size() - landed_groups_ > pending) {
    for (const std::size_t end = ends_[landed_groups_++]; landed_copies_ < end; ++landed_copies_) {
      copies_[landed_copies_].land();
    }
  }
  if (landed_copies_ == copies_.size() && landed_groups_ == ends_.size()) {
    clear();
  }
}

void PendingCopies::clear() {
  copies_.clear();
  ends_.clear();
  landed_copies_ = 0;
  landed_groups_ = 0;
}

}  // namespace hrm::simt
