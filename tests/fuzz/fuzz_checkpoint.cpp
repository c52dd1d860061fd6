// A checkpoint whose digest is right and whose contents are not what the writer would have written.
#include "fuzz.hpp"
#include "hdf5_edits.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/inspect.hpp"
#include "io/state_digest.hpp"
#include "io/user_block.hpp"
#include "tests/io/io_samples.hpp"

namespace hrm::fuzz {
namespace {

std::filesystem::path good_checkpoint() {
  const auto alone = comm::serial_communicator();
  const io::MadeState state = io::made_state(7);
  io::CheckpointWriter writer(*alone, scratch() / "run", "run1");
  return writer.save(state.meta, state.parts(0, 1));
}

void tensors_can_be_read(const std::filesystem::path& path) {
  const auto alone = comm::serial_communicator();
  const io::CheckpointReader reader(*alone, path);
  for (const io::TensorInfo& tensor : reader.tensors()) {
    require(tensor.count() >= 0, "a tensor has a size");
    std::vector<float> values(static_cast<std::size_t>(std::min<std::int64_t>(tensor.count(), 200)));
    const auto size = static_cast<std::int64_t>(values.size());
    accepted([&] { reader.read(tensor.path, 0, values); });
    accepted([&] { reader.read(tensor.path, tensor.count() - size, values); });
    require(!accepted([&] { reader.read(tensor.path, tensor.count() - size + 1, values); }) || values.empty(),
            "nothing is read beyond a tensor");
    accepted([&] {
      reader.read(tensor.path, {{17, 9}, TensorSplit::columns, 1, {0, 3}}, 0, std::span(values).first(size / 4));
    });
  }
  const io::MadeState state = io::made_state(7);
  accepted([&] { io::check_restored(*alone, reader, state.parts(0, 1)); });
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm::fuzz;
  static const std::filesystem::path good = good_checkpoint();
  static const std::string bytes = hrm::io::file_bytes(good);
  const std::filesystem::path path = scratch() / "step-00000007.h5";
  write_file(path, bytes);
  FuzzedDataProvider changes(data, size);
  edit(path, changes);
  hrm::io::seal_user_block(path, hrm::io::file_digest_part(path, 0, 1));
  accepted([&] { tensors_can_be_read(path); });
  accepted([&] { hrm::io::describe_text(hrm::io::describe(path)); });
  accepted([&] { hrm::io::verify_file(path); });
  accepted([&] { hrm::io::compare_files(good, path); });
  return 0;
}
