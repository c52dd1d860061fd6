#pragma once
// Asynchronous copies of one thread from global to shared memory (cp.async), 16 bytes each.
#include <cstddef>
#include <vector>

namespace hrm::simt {

class PendingCopies {
 public:
  /// Both addresses are aligned to 16 and `shared` lies in the block's shared memory: the caller has checked.
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
  std::vector<Copy> copies_;
  std::vector<std::size_t> ends_;  ///< in copies_, of each committed group
  std::size_t landed_copies_ = 0;
  std::size_t landed_groups_ = 0;
};

}  // namespace hrm::simt
