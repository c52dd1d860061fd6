#pragma once
// Asynchronous copies of one thread from global to shared memory (cp.async), 16 bytes each.
#include <cstddef>
#include <deque>
#include <vector>

namespace hrm::simt {

class PendingCopies {
 public:
  /// Both addresses aligned to 16, `shared` in the block's shared memory; checked by the caller.
  void issue(void* shared, const void* global, bool valid);
  void commit();
  /// The copies of all groups but the `pending` youngest land.
  void wait(std::size_t pending);
  void clear();

 private:
  struct Copy {
    void* to;
    const void* from;  ///< null: zeros
    void land() const;
  };
  std::deque<Copy> copies_;
  std::deque<std::size_t> groups_;  ///< copies of each committed group, oldest first
  std::size_t open_ = 0;            ///< copies since the last commit
};

}  // namespace hrm::simt
