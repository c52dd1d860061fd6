// Other programs read what this one writes: h5py, with digests recomputed from their definition, and h5dump.
#include <gtest/gtest.h>

#include <cstdlib>

#include "io/metrics.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

int run(const std::string& command) {
  return std::system((command + " > /dev/null").c_str());
}

TEST(OtherReaders, H5pyAndH5dumpReadEveryKindOfFile) {
  const ScratchFolder scratch;
  const auto serial = comm::serial_communicator();
  write_made_corpus(*serial, scratch / "narrow", 60, 300, 250);
  write_made_corpus(*serial, scratch / "wide", 20, 70000, 1000);
  const MadeState state = made_state(7);
  CheckpointWriter writer(*serial, scratch / "run", "run1");
  writer.save(state.meta, state.parts(0, 1));
  MetricsJournal journal(scratch / "run/metrics.h5", {"run1", "[model]\n"});
  journal.append({{"record", "train"}, {"step", 5}, {"loss", 2.5}});
  journal.append({{"record", "eval"}, {"name", "held-out"}, {"step", 5}, {"loss", 2.5}});
  journal.append({{"record", "event"}, {"time", "t"}, {"step", 5}, {"kind", "start"}, {"text", "\xC3\xA4"}});
  journal.publish();

  const std::string folder = scratch.path().string();
  const std::string files = folder + "/*/*.h5";

  const std::string script = HRM_TESTS "/io/check_with_h5py.py";
  EXPECT_EQ(run("/usr/bin/python3 " + script + " " + files), 0);  // Debian's h5py belongs to this interpreter
  EXPECT_EQ(run("for f in " + files + "; do h5dump $f || exit 1; done"), 0);
}

}  // namespace
}  // namespace hrm::io
