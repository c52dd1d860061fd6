// Files that HDF5 itself takes for whole, with contents that ask for memory that they do not hold or lead elsewhere.
#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "io/hdf5.hpp"
#include "io/inspect.hpp"
#include "io/metrics.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

using h5::Handle;

class Hdf5Limits : public testing::Test {
 protected:
  void SetUp() override {
    h5::File file = h5::File::create(path_);
    file.write_array<double>("/group/x", std::vector<double>{1, 2, 3});
    file.close();
  }
  /// Makes /big of this type and extents with the library's own calls, without data.
  void make_big(hid_t type, std::vector<hsize_t> extents, std::vector<hsize_t> chunk = {}) {
    const Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const Handle space(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr));
    const Handle properties(H5Pcreate(H5P_DATASET_CREATE));
    if (!chunk.empty()) {
      H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data());
      H5Pset_deflate(properties.id(), 6);
    }
    const Handle big(H5Dcreate2(file.id(), "/big", type, space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT));
    ASSERT_GE(big.id(), 0);
  }
  ScratchFolder scratch_;
  std::filesystem::path path_ = scratch_ / "file.h5";
};

TEST_F(Hdf5Limits, NumbersThatTheFileDoesNotStoreAreRefusedBeforeMemoryIsTaken) {
  make_big(H5T_IEEE_F64LE, {hsize_t{1} << 40});

  const h5::File file = h5::File::open(path_);

  expect_error(ExitCode::bad_data, "/big is larger", [&] { file.open_dataset("/big").read<double>(); });
}

TEST_F(Hdf5Limits, ShapesBeyondSixtyFourBitsAreRefused) {
  make_big(H5T_IEEE_F64LE, {hsize_t{1} << 40, hsize_t{1} << 40});

  const h5::File file = h5::File::open(path_);

  expect_error(ExitCode::bad_data, "no size", [&] { file.open_dataset("/big"); });
}

TEST_F(Hdf5Limits, ChunksLargerThanTheFileExplainsAreRefused) {
  make_big(H5T_IEEE_F64LE, {hsize_t{1} << 28}, {hsize_t{1} << 28});

  const h5::File file = h5::File::open(path_);

  expect_error(ExitCode::bad_data, "/big is larger", [&] { file.open_dataset("/big").read<double>(); });
}

TEST_F(Hdf5Limits, DeflatedNumbersAreRead) {
  constexpr hsize_t count = 100000;  // zeros: deflate makes a few hundred bytes of them
  make_big(H5T_IEEE_F64LE, {count}, {count});
  const std::vector<double> zeros(count);
  {
    const Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    const Handle big(H5Dopen2(file.id(), "/big", H5P_DEFAULT));
    H5Dwrite(big.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data());
  }

  EXPECT_EQ(h5::File::open(path_).open_dataset("/big").read<double>(), zeros);
}

TEST_F(Hdf5Limits, LongTextsThatTheFileDoesNotStoreAreRefused) {
  const Handle text(H5Tcopy(H5T_C_S1));
  H5Tset_size(text.id(), std::size_t{1} << 30);
  make_big(text.id(), {hsize_t{1} << 10});

  const h5::File file = h5::File::open(path_);

  expect_error(ExitCode::bad_data, "/big is larger", [&] { file.open_dataset("/big").read_strings(); });
}

TEST_F(Hdf5Limits, IntegersOfOddWidthAreNotTakenForWholeOnes) {
  const Handle narrow(H5Tcopy(H5T_STD_U32LE));
  H5Tset_precision(narrow.id(), 20);
  make_big(narrow.id(), {3});

  EXPECT_EQ(h5::File::open(path_).open_dataset("/big").type(), h5::Type::other);
}

TEST_F(Hdf5Limits, LinksThatLeaveTheFileAreNotFollowed) {
  {
    const Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    H5Lcreate_soft("/group/x", file.id(), "/soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/x", file.id(), "/outside", H5P_DEFAULT, H5P_DEFAULT);
  }

  const h5::File file = h5::File::open(path_);

  EXPECT_EQ(file.dataset_paths(), std::vector<std::string>{"/group/x"});
  EXPECT_FALSE(file.has("/soft") || file.has("/outside"));
  expect_error(ExitCode::bad_data, "/outside is missing", [&] { file.open_dataset("/outside"); });
}

TEST_F(Hdf5Limits, TheRootIsAGroup) {
  const h5::File file = h5::File::open(path_);

  EXPECT_TRUE(file.has("/"));
  EXPECT_EQ(file.open_group("/").children(), std::vector<std::string>{"group"});
}

TEST_F(Hdf5Limits, LinksInCirclesAreRefused) {
  {
    const Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    for (const char* name : {"/group/a", "/group/b", "/group/c"}) {
      H5Lcreate_hard(file.id(), "/group", file.id(), name, H5P_DEFAULT, H5P_DEFAULT);
    }
  }

  const h5::File file = h5::File::open(path_);

  expect_error(ExitCode::bad_data, "circles", [&] { file.dataset_paths(); });
}

/// metrics.h5 of a journal of these lines.
std::filesystem::path metrics_of(const std::filesystem::path& folder, const std::string& lines) {
  overwrite(folder / "metrics.jsonl", lines);
  build_metrics(folder / "metrics.h5", apply_cuts(read_journal(folder / "metrics.jsonl")), {"run", ""});
  return folder / "metrics.h5";
}

TEST_F(Hdf5Limits, AnyNameOfAStratumBecomesAColumn) {
  const std::filesystem::path file = metrics_of(
      scratch_.path(),
      R"({"record":"eval","name":".","step":1,"":1,".":2,"a/b":3,"a_b":4,"z\u0000z":5,"big":1e300,"\u00e4":6})"
      "\n");

  EXPECT_GT(verify_file(file), 0);
  const h5::File metrics = h5::File::open(file);
  EXPECT_EQ(metrics.open_dataset("/eval/_/a_b").read<double>(), std::vector<double>{3});
  EXPECT_EQ(metrics.open_dataset("/eval/_/a_b_").read<double>(), std::vector<double>{4});
  EXPECT_EQ(metrics.open_dataset("/eval/_/z_z").read<double>(), std::vector<double>{5});
}

TEST_F(Hdf5Limits, RowsOfTheWrongKindAreRefusedByLine) {
  for (const char* line : {R"({"record":7})", R"({"record":"cut","step":"x"})", R"({"record":"eval","name":[]})",
                           R"({"record":"train","step":1.5})", "[]", R"({"record":"train","loss":1e999})"}) {
    overwrite(scratch_ / "metrics.jsonl", "{\"record\":\"train\",\"step\":1}\n" + std::string(line) + "\n");

    expect_error(ExitCode::bad_data, "metrics.jsonl:2: ", [&] { read_journal(scratch_ / "metrics.jsonl"); });
  }
}

TEST_F(Hdf5Limits, DeepRowsAreRefused) {
  overwrite(scratch_ / "metrics.jsonl", "{\"x\":" + std::string(100000, '[') + std::string(100000, ']') + "}\n");

  expect_error(ExitCode::bad_data, "nests too deep", [&] { read_journal(scratch_ / "metrics.jsonl"); });
}

TEST_F(Hdf5Limits, NumbersThatNoIntegerHoldsAreNotMeasured) {
  const std::filesystem::path file =
      metrics_of(scratch_.path(), "{\"record\":\"train\",\"step\":1,\"tokens\":1e300,\"bp_steps\":3.0}\n");

  const h5::File metrics = h5::File::open(file);
  EXPECT_EQ(metrics.open_dataset("/train/tokens").read<std::int64_t>(), std::vector<std::int64_t>{0});
  EXPECT_EQ(metrics.open_dataset("/train/bp_steps").read<std::int64_t>(), std::vector<std::int64_t>{3});
}

}  // namespace
}  // namespace hrm::io
