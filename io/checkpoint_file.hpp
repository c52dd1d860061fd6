#pragma once
// The fields of /state, listed once; writer, reader and `inspect` walk the list.
#include <array>
#include <string>
#include <variant>

#include "io/checkpoint.hpp"
#include "io/hdf5.hpp"

namespace hrm::io {

using StateMember = std::variant<std::int64_t CheckpointMeta::*, std::uint64_t CheckpointMeta::*,
                                 double CheckpointMeta::*, std::string CheckpointMeta::*>;

struct StateField {
  const char* name;
  StateMember member;
};

inline constexpr std::array<StateField, 22> state_fields = {{
    {"run_id", &CheckpointMeta::run_id},
    {"step", &CheckpointMeta::step},
    {"planned_steps", &CheckpointMeta::planned_steps},
    {"epoch", &CheckpointMeta::epoch},
    {"epoch_position", &CheckpointMeta::epoch_position},
    {"samples_seen", &CheckpointMeta::samples_seen},
    {"tokens_seen", &CheckpointMeta::tokens_seen},
    {"seed", &CheckpointMeta::seed},
    {"bp_steps", &CheckpointMeta::bp_steps},
    {"learning_rate", &CheckpointMeta::learning_rate},
    {"packs", &CheckpointMeta::packs},
    {"pack_tokens", &CheckpointMeta::pack_tokens},
    {"precision", &CheckpointMeta::precision},
    {"embed_scale", &CheckpointMeta::embed_scale},
    {"corpus_digest", &CheckpointMeta::corpus_digest},
    {"state_digest", &CheckpointMeta::state_digest},
    {"wall_seconds", &CheckpointMeta::wall_seconds},
    {"world_size", &CheckpointMeta::world_size},
    {"data_parallel", &CheckpointMeta::data_parallel},
    {"tensor_parallel", &CheckpointMeta::tensor_parallel},
    {"threads", &CheckpointMeta::threads},
    {"fingerprint", &CheckpointMeta::fingerprint},
}};

inline constexpr const char* sampling_path = "/state/sampling";
inline constexpr const char* guard_path = "/state/guard";
inline constexpr const char* skipped_packs_path = "/state/skipped_packs";
inline constexpr const char* products_path = "/state/products";

/// True for paths under /model, /optimizer, /ema: tensors, which make up state_digest.
bool is_tensor_path(const std::string& path);

/// Root attributes, /state, /config and /tokenizer.
void write_meta(h5::File& file, const CheckpointMeta& meta);
CheckpointMeta read_meta(const h5::File& file);

}  // namespace hrm::io
