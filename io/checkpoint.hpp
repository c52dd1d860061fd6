#pragma once
// Contents of a checkpoint, shared by writer and reader. Every tensor is stored whole, under its logical name and
// shape, whatever the layout that wrote it, so any layout can read any range of it.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/tensor_slice.hpp"

namespace hrm::io {

/// Elements of a tensor that this rank owns: a contiguous part of its slice. All ranks list the same tensors in the
/// same order; their parts are disjoint and together cover every tensor.
struct TensorPart {
  std::string path;             ///< "/model/embed_tokens", "/optimizer/exp_avg/H.layers.0.o", "/ema/lm_head"
  TensorSlice slice;            ///< logical shape of the whole tensor, and which part of it this rank holds
  std::int64_t first = 0;       ///< place of data[0] in the slice
  std::int64_t count = 0;       ///< elements, may be 0
  const float* data = nullptr;  ///< [count]
  std::int64_t step = -1;       ///< attribute `step` (updates this tensor has had); -1: none
};

/// Everything else: attributes of /state and small data sets. Equal on all ranks when saving.
struct CheckpointMeta {
  std::string run_id;
  std::int64_t step = 0;
  std::int64_t planned_steps = 0;
  std::int64_t epoch = 0;
  std::int64_t epoch_position = 0;
  std::int64_t samples_seen = 0;
  std::int64_t tokens_seen = 0;
  std::int64_t seed = 0;
  std::int64_t bp_steps = 0;
  double learning_rate = 0;
  std::int64_t packs = 0;
  std::int64_t pack_tokens = 0;
  std::string precision;
  double embed_scale = 0;
  std::uint64_t corpus_digest = 0;
  std::uint64_t state_digest = 0;  ///< computed by the writer
  double wall_seconds = 0;
  std::int64_t world_size = 1;
  std::int64_t data_parallel = 1;
  std::int64_t tensor_parallel = 1;
  std::int64_t threads = 1;
  std::string fingerprint;

  std::string created_at;      ///< ISO 8601, UTC; set by the writer
  std::string created_by;      ///< set by the writer
  std::string config_text;     ///< /config
  std::string tokenizer_json;  ///< /tokenizer

  std::map<std::string, std::vector<std::int64_t>> sampling;  ///< /state/sampling/NAME, e.g. "cursor" per stratum
  std::map<std::string, std::vector<double>> guard;           ///< /state/guard/NAME, the spike guard's windows
  std::vector<std::int64_t> skipped_packs;                    ///< /state/skipped_packs: (step - 1) * packs + pack
  std::string products;  ///< /state/products, of devices only: algorithms of matrix products, opaque; may be missing
};

struct TensorInfo {
  std::string path;
  std::vector<std::int64_t> shape;
  std::int64_t step = -1;
  std::uint64_t digest = 0;
  std::int64_t count() const;
};

/// "step-00001234.h5".
std::string checkpoint_name(std::int64_t step);

struct CheckpointFile {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// Finished checkpoints of a run folder, newest first (by step in the name). Temporaries and latest.h5 are left out.
std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder);

}  // namespace hrm::io
