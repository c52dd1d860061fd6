#include "validate/layout.hpp"

#include <fmt/ranges.h>

#include "base/error.hpp"
#include "config/resolve.hpp"

namespace hrm::validate {

void check_layout(const GoldenFile& file, const config::ModelConfig& model, std::int64_t packs, const Layout& layout) {
  const std::int64_t tensor = layout.grid.place().size;
  try {
    config::check_tensor(model, tensor);
  } catch (const InputError& error) {
    fail(ExitCode::bad_config, "{}: {}", file.path(), error.what());
  }
  if (layout.grid.data->size() > packs) {
    fail(ExitCode::bad_config,
         "{}: {} ranks in tensor groups of {} share {} packs: a group needs one at least; use at most {} ranks, or set "
         "parallel.tensor, which can be {}",
         file.path(), layout.grid.world->size(), tensor, packs, packs * tensor,
         fmt::join(config::tensor_sizes(model), ", "));
  }
}

}  // namespace hrm::validate
