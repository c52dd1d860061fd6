#pragma once
// Every option of a run as plain structs. fields.hpp lists each field once with its name, range, unit and help;
// reading, printing, checking and storing walk that list. Names, values and defaults are the contract of the
// configuration page (README "Configuration").
#include <cstdint>
#include <string>

namespace hrm::config {

/// Network (golden A).
struct ModelConfig {
  std::string architecture = "hrm";  ///< hrm, transformer, trm, ut, rins
  std::int64_t layers = 0;           ///< in all
  bool half_layers = true;           ///< default true for hrm, rins, trm; false (only) for transformer, ut
  std::int64_t hidden_size = 0;
  std::int64_t num_heads = 0;
  double expansion = 4.0;
  std::int64_t intermediate_multiple = 256;
  std::int64_t intermediate_size = 0;  ///< 0: formula A.1
  std::int64_t vocab_size = 0;         ///< 0: the corpus's
  std::int64_t vocab_multiple = 256;
  std::int64_t h_cycles = 2;
  std::int64_t l_cycles = 3;  ///< rins: 7
  std::int64_t cycles = 4;    ///< ut
  std::int64_t bp_min_steps = 2;
  std::int64_t bp_max_steps = 5;
  double bp_warmup_ratio = 0.2;
  std::int64_t h_bp_steps = 2;   ///< trm
  std::int64_t l_bp_steps = 3;   ///< trm
  std::int64_t bp_cycles = 2;    ///< ut
  std::int64_t l_bp_cycles = 4;  ///< rins
  std::string attention = "prefixlm";
  std::string norm = "pre";
  double norm_eps = 1e-6;
  std::string position = "rope";
  double rope_theta = 10000;
  std::string init = "lecun_normal";
  double init_std = 0;     ///< 0: the scheme's default (0.02; megatron 1/sqrt(D))
  double embed_scale = 0;  ///< 0: 1/std of the embedding's initialiser, resolved once and stored
  std::int64_t max_seq_len = 4096;

  std::int64_t head_dim() const { return hidden_size / num_heads; }
  /// Layers of one stack.
  std::int64_t stack_layers() const { return half_layers ? layers / 2 : layers; }
};

struct TrainConfig {
  std::string loss = "response";  ///< response, all
  std::int64_t packs = 16;
  std::int64_t pack_tokens = 12288;
  double epochs = 0;  ///< or max_steps, which wins
  std::int64_t max_steps = 0;
  bool drop_last = true;
  double learning_rate = 0;  ///< required by train
  std::int64_t lr_warmup_steps = 0;
  double lr_min_ratio = 1.0;
  double weight_decay = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double ema = 0.9999;
  std::string precision = "auto";  ///< auto, bf16, fp32
  std::int64_t seed = 0;
  std::int64_t log_interval = 5;
  bool recompute = false;
  bool deterministic = true;
};

struct ParallelConfig {
  std::int64_t tensor = 1;
  bool sequence = true;
  bool overlap = true;
  std::int64_t zero = 1;
};

struct DeviceConfig {
  std::string type = "auto";
  std::int64_t threads = 0;
  double peak_tflops = 0;
};

struct DataConfig {
  std::string path;
  std::string sampling;
};

struct EvalConfig {
  std::string path;
  std::string benchmark;
  std::int64_t interval_steps = 0;
};

struct CheckpointConfig {
  std::string dir;
  std::int64_t interval_steps = 0;
  std::string interval_minutes = "auto";
  std::int64_t keep_last = 3;
  std::int64_t keep_every = 0;
  bool async = true;
  std::int64_t staging_bytes = std::int64_t{256} << 20;
};

struct GuardConfig {
  bool enabled = true;
  std::int64_t window = 128;
  double spike_factor = 10;
  std::int64_t max_skips = 3;
  std::int64_t max_rollbacks = 2;
  std::int64_t digest_interval = 0;  ///< 0: off
};

struct WatchdogConfig {
  bool enabled = true;
  double least_seconds = 300;
  double factor = 10;
};

struct MetricsConfig {
  std::string path;
};

/// No effect yet.
struct IoConfig {
  std::string hints;
  std::int64_t stripe_count = 0;
};

struct RunLimits {
  std::string time_limit;
};

struct RunConfig {
  ModelConfig model;
  TrainConfig train;
  ParallelConfig parallel;
  DeviceConfig device;
  DataConfig data;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  GuardConfig guard;
  WatchdogConfig watchdog;
  MetricsConfig metrics;
  IoConfig io;
  RunLimits run;
};

}  // namespace hrm::config
