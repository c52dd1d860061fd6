// Run under mpirun with any number of ranks: ranks of one program agree, and one rank of another is named on all of
// them. Exit 0 if so; each failing case is one line on standard error. The map of ranks goes there too.
#include <string>

#include "app/rank_map.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "comm/mpi_session.hpp"

namespace {

using namespace hrm;

/// Code and text of the error that check_same_program throws, "agreed" without one.
std::string outcome(comm::Communicator& world, const std::string& text) {
  try {
    app::check_same_program(world, text);
  } catch (const InputError& error) {
    return fmt::format("{}: {}", static_cast<int>(error.code()), error.what());
  }
  return "agreed";
}

int failures = 0;

void expect(bool right, const char* claim, const std::string& found) {
  if (!right) {
    ++failures;
    fmt::print(stderr, "{}: found {}\n", claim, found);
  }
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  log::set_rank(world.rank());
  const int last = world.size() - 1;

  app::announce_ranks(world, world.size());
  const std::string same = outcome(world, app::program_text());
  expect(same == "agreed", "one program on all ranks is agreed on", same);
  const std::string other = outcome(world, world.rank() == last && last > 0 ? "hrm 9" : "hrm 8");
  const bool named = other.starts_with(fmt::format("78: rank {} on ", last)) &&
                     other.find("runs hrm 9, rank 0 on ") != std::string::npos &&
                     other.find("runs hrm 8;") != std::string::npos;
  expect(last == 0 ? other == "agreed" : named, "another program on the last rank is named on every rank", other);

  auto failed = static_cast<std::int64_t>(failures);
  world.max({&failed, 1});
  return failed == 0 ? 0 : 1;
}
