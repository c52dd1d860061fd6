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
  ++open_;
}

void PendingCopies::commit() {
  groups_.push_back(open_);
  open_ = 0;
}

void PendingCopies::wait(std::size_t pending) {
  while (groups_.size() > pending) {
    for (std::size_t i = 0; i < groups_.front(); ++i) {
      copies_.front().land();
      copies_.pop_front();
    }
    groups_.pop_front();
  }
}

void PendingCopies::clear() {
  copies_.clear();
  groups_.clear();
  open_ = 0;
}

}  // namespace hrm::simt
