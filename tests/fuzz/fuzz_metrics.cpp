// metrics.jsonl, and metrics.h5 built from it.
#include "fuzz.hpp"
#include "io/inspect.hpp"
#include "io/metrics.hpp"

namespace hrm::fuzz {
namespace {

void journal_becomes_a_file(const std::filesystem::path& journal) {
  std::filesystem::path h5 = journal;
  h5.replace_extension(".h5");
  const std::vector<nlohmann::json> kept = io::apply_cuts(io::read_journal(journal));
  // The journal is the truth and what it holds may have been written by anyone: a row that is accepted never stands in
  // the way of the file.
  io::build_metrics(h5, kept, {"run", "[train]\n"});
  require(io::verify_file(h5) > 0, "metrics.h5 verifies");
  io::describe_text(io::describe(h5));
}

void run_goes_on(const std::filesystem::path& journal) {
  std::filesystem::path h5 = journal;
  io::MetricsJournal metrics(h5.replace_extension(".h5"), {"run", "[train]\n"});
  metrics.append({{"record", "train"}, {"step", 1}, {"loss", 2.5}});
  require(!io::read_journal(journal).empty(), "a row that was appended is read");
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm::fuzz;
  const std::filesystem::path journal = scratch() / "metrics.jsonl";
  write_file(journal, text_of(data, size));
  std::vector<nlohmann::json> rows;
  if (accepted([&] { rows = hrm::io::read_journal(journal); })) {
    journal_becomes_a_file(journal);
    run_goes_on(journal);
  }
  return 0;
}
