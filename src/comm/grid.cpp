#include "comm/grid.hpp"

#include <string>

#include "base/error.hpp"

namespace hrm::comm {
namespace {

std::string divisors(int ranks) {
  std::string list;
  for (int size = 1; size <= ranks; ++size) {
    list += ranks % size == 0 ? (list.empty() ? "" : ", ") + std::to_string(size) : "";
  }
  return list;
}

void check_divides(int ranks, std::int64_t tensor) {
  if (tensor < 1 || ranks % tensor != 0) {
    fail(ExitCode::bad_config,
         "parallel.tensor = {} does not divide the {} ranks; with this many ranks it can be {}, or start a multiple of "
         "{} ranks",
         tensor, ranks, divisors(ranks), tensor);
  }
}

std::unique_ptr<Communicator> pretended(int rank, int size) {
  return size == 1 ? serial_communicator() : pretend_communicator(rank, size);
}

}  // namespace

Grid make_grid(Communicator& world, std::int64_t tensor) {
  check_divides(world.size(), tensor);
  const int size = static_cast<int>(tensor);
  Grid grid;
  grid.world = &world;
  grid.data = world.split(world.rank() % size);
  grid.tensor = world.split(world.rank() / size);
  return grid;
}

Grid pretend_grid(Communicator& world, int rank, int ranks, std::int64_t tensor) {
  check_divides(ranks, tensor);
  const int size = static_cast<int>(tensor);
  Grid grid;
  grid.world = &world;
  grid.data = pretended(rank / size, ranks / size);
  grid.tensor = pretended(rank % size, size);
  return grid;
}

}  // namespace hrm::comm
