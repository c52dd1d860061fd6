// A reference file of `hrm validate`, which has no digest: everything that its reader is asked for.
#include "fuzz.hpp"
#include "hdf5_edits.hpp"
#include "tests/io/io_samples.hpp"
#include "validate/golden_file.hpp"

namespace hrm::fuzz {
namespace {

std::string good_golden() {
  const std::filesystem::path path = scratch() / "good.h5";
  io::h5::File file = io::h5::File::create(path);
  file.set_attribute("case", std::string("ops"));
  file.set_attribute("format_version", std::int64_t{1});
  file.set_attribute("epsilon", 1e-6);
  file.create_group("/inputs").set_attribute("causal", std::int64_t{1});
  file.write_array<double>("/inputs/x", std::vector<double>{1, 2, 3, 4, 5, 6});
  file.write_array<float>("/outputs/y", std::vector<float>{1, 2, 3});
  file.write_array<std::int64_t>("/inputs/ids", std::vector<std::int64_t>{5, 7, 0, 1});
  file.write_array<std::int32_t>("/inputs/lengths", std::vector<std::int32_t>{2, 2});
  file.close();
  return io::file_bytes(path);
}

void ask_for_all(const std::filesystem::path& path) {
  using validate::any_extent;
  const validate::GoldenFile file(path);
  for (const char* group : {"/", "/inputs", "/outputs"}) {
    accepted([&] {
      for (const std::string& child : file.children(group)) {
        require(!child.empty(), "a child has a name");
      }
    });
  }
  for (const char* name : {"/inputs/x", "/outputs/y", "/inputs/ids", "/inputs/lengths", "/missing"}) {
    const validate::Shape shapes[] = {{any_extent}, {any_extent, any_extent}, {4}, {}};
    for (const validate::Shape& shape : shapes) {
      accepted([&] {
        const auto count = static_cast<std::int64_t>(file.reals(name, shape).size());
        require(count == validate::element_count(file.shape(name)), "as many numbers as the shape says");
      });
      accepted([&] { file.ids(name, shape); });
    }
    accepted([&] { file.real(name); });
    accepted([&] { file.integer(name); });
    accepted([&] { file.integer_attribute(name, "step"); });
  }
  for (const char* object : {"/", "/inputs", "/inputs/x", "/missing"}) {
    for (const char* name : {"case", "format_version", "epsilon", "causal", "step"}) {
      accepted([&] { file.has_attribute(object, name) ? file.integer_attribute(object, name) : 0; });
      accepted([&] { file.flag_attribute(object, name); });
      accepted([&] { file.reals_attribute(object, name); });
      accepted([&] { file.text_attribute(name); });
    }
  }
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm::fuzz;
  static const std::string good = good_golden();
  const std::filesystem::path path = scratch() / "golden.h5";
  write_file(path, good);
  FuzzedDataProvider changes(data, size);
  edit(path, changes);
  accepted([&] { ask_for_all(path); });
  return 0;
}
