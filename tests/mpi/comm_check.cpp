// Run under mpirun with any number of ranks: what the communicator and the gradient tree promise. Exit 0 if all hold;
// each failing promise is one line on standard error.
#include "comm/mpi_communicator.hpp"
#include "comm/mpi_session.hpp"
#include "communicator_checks.hpp"

int main() {
  using namespace hrm::comm;
  MpiSession session;
  Communicator& world = session.world();
  checks::check_group(world);
  // Messages cut into parts of 5 elements behave like whole ones.
  const auto cut = mpi_communicator(world.native(), 5);
  checks::check_group(*cut);
  const auto cut_blocks = mpi_communicator(world.native(), 5000);
  checks::check_trees(world, *cut_blocks, 13);
  checks::check_bucket_gather(world);
  checks::check_grid(world);
  return checks::exit_code(world);
}
