#pragma once
// What the writer and the readers of shards and corpus.h5 share.
#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "io/corpus.hpp"
#include "io/hdf5.hpp"

namespace hrm::io {

inline constexpr const char* corpus_file_name = "corpus.h5";
inline constexpr const char* tokens_path = "/tokens";
inline constexpr const char* offset_path = "/index/offset";
inline constexpr const char* instruction_length_path = "/index/instruction_length";
inline constexpr const char* response_length_path = "/index/response_length";
inline constexpr const char* stratum_path = "/index/stratum";
inline constexpr const char* strata_path = "/strata";

inline constexpr std::array<std::pair<const char*, std::int64_t SpecialIds::*>, 8> special_id_attributes = {{
    {"id_begin", &SpecialIds::begin},
    {"id_end_of_instruction", &SpecialIds::end_of_instruction},
    {"id_end_of_answer", &SpecialIds::end_of_answer},
    {"id_pad", &SpecialIds::pad},
    {"id_condition_direct", &SpecialIds::condition_direct},
    {"id_condition_cot", &SpecialIds::condition_cot},
    {"id_condition_noisy", &SpecialIds::condition_noisy},
    {"id_condition_synth", &SpecialIds::condition_synth},
}};

/// uint16 where every id fits, else uint32.
h5::Type token_type(std::int64_t vocab_size);

/// "shard-00000.h5".
std::string shard_name(std::int64_t number);

void write_special_ids(h5::File& file, const SpecialIds& ids);
SpecialIds read_special_ids(const h5::File& file);

/// Writes corpus.h5's content under the name `path`, without a user block yet; info.corpus_digest is stored as given.
void write_corpus_file(const std::filesystem::path& path, const CorpusInfo& info);

/// Opens a shard whose digest has been verified; 65 unless format, attributes, /strata, types and shapes agree with
/// `info`.
h5::File open_shard(const CorpusInfo& info, const ShardInfo& shard);

}  // namespace hrm::io
