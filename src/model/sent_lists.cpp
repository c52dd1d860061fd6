#include "model/sent_lists.hpp"

#include <thread>

#include "base/error.hpp"
#include "base/round.hpp"

namespace hrm::model {

SentLists::SentLists(std::int64_t most_bytes, MemoryPart part, Device& device)
    : device_(&device), memory_(most_bytes, part, device.memory()) {
  for (std::size_t i = 0; i < staging_.size(); ++i) {
    staging_[i] = Buffer<std::byte>(most_bytes, part, device.staging());
    sent_[i] = device.make_event();
  }
}

void SentLists::begin() {
  turn_ = 1 - turn_;
  while (!device_->reached(sent_[turn_])) {
    std::this_thread::yield();
  }
  used_ = 0;
}

std::size_t SentLists::take(std::size_t bytes) {
  const std::int64_t offset = used_;
  used_ = round_up(used_ + static_cast<std::int64_t>(bytes), alignment);
  ensure(used_ <= memory_.size(), "lists for a device are longer than their memory");
  return static_cast<std::size_t>(offset);
}

void SentLists::send() {
  device_->copy(device_->compute(), memory_.data(), staging_[turn_].data(), static_cast<std::size_t>(used_));
  device_->record(sent_[turn_], device_->compute());
}

}  // namespace hrm::model
