#pragma once
// The one list of configuration keys. Reading, printing, checking, storing and comparing walk it, so a new key is one
// line here and one member of RunConfig.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.hpp"

namespace hrm::config {

/// What is known of one key besides its value. Numbers lie in [low, high]; words, where given, are the allowed texts
/// ("pre|post"), otherwise any text is allowed and the unit says what it is.
struct FieldInfo {
  std::string_view key;  ///< "section.name"
  double low = 0;
  double high = 0;
  std::string_view words = {};
  std::string_view unit = {};
  std::string_view help = {};
  std::string_view otherwise = {};  ///< what holds where the key is not given, if that is not the member's value alone
};

/// FieldInfo::otherwise of what must be given; the number 0 and the empty text stand for "not given" there.
inline constexpr std::string_view required = "required";

/// Integers above are refused: exact in a double and far from overflow when sizes are multiplied.
inline constexpr double most = 1099511627776.0;  // 2^40

/// Calls visit(FieldInfo, value&) for every key, in the order of the printed configuration. `Config` is RunConfig or
/// const RunConfig; a value is a std::string, std::int64_t, double or bool.
template <class Config, class Visitor>
void for_each_field(Config& config, Visitor&& visit);

/// Names of all keys, in order.
std::vector<std::string> known_keys();

/// "a whole number in 1 .. 64 ranks", "one of pre, post", "true or false", "a folder": what a key allows, for messages
/// and help.
std::string allowed_text(const FieldInfo& info, std::string_view type);

/// Every key with its default, range, unit and meaning, one per line: the text of `hrm train --keys`.
std::string describe_fields();

template <class Config, class Visitor>
void for_each_model_field(Config& model, Visitor&& visit) {
  using I = FieldInfo;
  visit(I{"model.architecture", 0, 0, "hrm|transformer|trm|ut|rins", "", "recurrence program"}, model.architecture);
  visit(I{"model.layers", 0, 10000, "", "layers", "layers in all; even where half_layers is true", required},
        model.layers);
  visit(I{"model.half_layers", 0, 0, "", "", "a stack has layers/2 layers (hrm, rins, trm)",
          "true (transformer, ut: false)"},
        model.half_layers);
  visit(I{"model.hidden_size", 0, 1048576, "", "channels", "width of a token's state", required}, model.hidden_size);
  visit(I{"model.num_heads", 0, 65536, "", "heads", "attention heads; divides hidden_size", required}, model.num_heads);
  visit(I{"model.expansion", 0.01, 1000, "", "", "feed-forward width relative to hidden_size"}, model.expansion);
  visit(I{"model.intermediate_multiple", 1, 65536, "", "channels", "the feed-forward width is rounded up to it"},
        model.intermediate_multiple);
  visit(I{"model.intermediate_size", 0, 16777216, "", "channels", "feed-forward width; 0: from expansion"},
        model.intermediate_size);
  visit(I{"model.vocab_size", 0, 16777216, "", "tokens", "vocabulary; 0: the corpus's"}, model.vocab_size);
  visit(I{"model.vocab_multiple", 1, 65536, "", "tokens", "the vocabulary is padded up to it"}, model.vocab_multiple);
  visit(I{"model.h_cycles", 1, 1000, "", "cycles", "outer cycles (hrm, trm)"}, model.h_cycles);
  visit(I{"model.l_cycles", 1, 1000, "", "cycles", "inner cycles (hrm, trm, rins)", "3 (rins: 7)"}, model.l_cycles);
  visit(I{"model.cycles", 1, 1000, "", "cycles", "cycles (ut)"}, model.cycles);
  visit(I{"model.bp_min_steps", 2, 10000, "", "steps", "backward horizon at the start (hrm)"}, model.bp_min_steps);
  visit(I{"model.bp_max_steps", 2, 10000, "", "steps", "backward horizon after its warm-up (hrm)"}, model.bp_max_steps);
  visit(I{"model.bp_warmup_ratio", 0, 1, "", "of all steps", "length of the horizon's warm-up (hrm)"},
        model.bp_warmup_ratio);
  visit(I{"model.h_bp_steps", 1, 10000, "", "steps", "H steps that are differentiated (trm)"}, model.h_bp_steps);
  visit(I{"model.l_bp_steps", 1, 10000, "", "steps", "L steps that are differentiated (trm)"}, model.l_bp_steps);
  visit(I{"model.bp_cycles", 1, 10000, "", "cycles", "cycles that are differentiated (ut)"}, model.bp_cycles);
  visit(I{"model.l_bp_cycles", 1, 10000, "", "cycles", "L cycles that are differentiated (rins)"}, model.l_bp_cycles);
  visit(I{"model.attention", 0, 0, "prefixlm|causal", "", "mask"}, model.attention);
  visit(I{"model.norm", 0, 0, "pre|post", "", "place of the RMS norms"}, model.norm);
  visit(I{"model.norm_eps", 0, 1, "", "", "added to the mean square"}, model.norm_eps);
  visit(I{"model.position", 0, 0, "rope|none", "", "position embedding"}, model.position);
  visit(I{"model.rope_theta", 1, 1e12, "", "", "base of the rotary wave lengths"}, model.rope_theta);
  visit(I{"model.init", 0, 0, "lecun_normal|fixed_normal|megatron", "", "initialiser"}, model.init);
  visit(I{"model.init_std", 0, 100, "", "", "0: the initialiser's own (0.02; megatron 1/sqrt(hidden_size))"},
        model.init_std);
  visit(I{"model.embed_scale", 0, 1e6, "", "", "factor of the embedding; 0: 1/std of its initialiser"},
        model.embed_scale);
  visit(I{"model.max_seq_len", 1, 16777216, "", "tokens", "longest sample after the shift"}, model.max_seq_len);
}

template <class Config, class Visitor>
void for_each_train_field(Config& train, Visitor&& visit) {
  using I = FieldInfo;
  visit(I{"train.loss", 0, 0, "response|all", "", "supervised tokens"}, train.loss);
  visit(I{"train.packs", 1, 1048576, "", "packs", "packs of a global batch"}, train.packs);
  visit(I{"train.pack_tokens", 1, 1073741824, "", "tokens", "slots of a pack; at least model.max_seq_len"},
        train.pack_tokens);
  visit(I{"train.epochs", 0, 1e9, "", "epochs", "length; or max_steps, which wins", "required, or max_steps"},
        train.epochs);
  visit(I{"train.max_steps", 0, most, "", "steps", "length; 0: from epochs", "required, or epochs"}, train.max_steps);
  visit(I{"train.drop_last", 0, 0, "", "", "leave out the batch that reaches the end of an epoch"}, train.drop_last);
  visit(I{"train.learning_rate", 0, 100, "", "", "peak rate", required}, train.learning_rate);
  visit(I{"train.lr_warmup_steps", 0, most, "", "steps", "linear warm-up; less than the planned steps"},
        train.lr_warmup_steps);
  visit(I{"train.lr_min_ratio", 0, 1, "", "of the peak", "final rate of the cosine; 1: constant"}, train.lr_min_ratio);
  visit(I{"train.weight_decay", 0, 100, "", "", "decoupled decay"}, train.weight_decay);
  visit(I{"train.beta1", 0, 0.9999999, "", "", "first moment; 0: none"}, train.beta1);
  visit(I{"train.beta2", 0, 0.9999999, "", "", "second moment"}, train.beta2);
  visit(I{"train.ema", 0, 0.9999999, "", "", "average of the weights; 0: none"}, train.ema);
  visit(I{"train.precision", 0, 0, "auto|bf16|fp32", "", "compute type"}, train.precision);
  visit(I{"train.seed", 0, most, "", "", "of the initial weights and the order of samples"}, train.seed);
  visit(I{"train.log_interval", 1, most, "", "steps",
          "a progress line and a row of the metrics every so many; the last step always"},
        train.log_interval);
  visit(I{"train.recompute", 0, 0, "", "", "keep less in memory, compute activations again"}, train.recompute);
  visit(I{"train.deterministic", 0, 0, "", "",
          "gradients are summed by a fixed tree: the same bits at any number of ranks and threads; false: in the "
          "library's order"},
        train.deterministic);
}

template <class Config, class Visitor>
void for_each_field(Config& config, Visitor&& visit) {
  using I = FieldInfo;
  for_each_model_field(config.model, visit);
  for_each_train_field(config.train, visit);
  visit(I{"parallel.tensor", 1, 1024, "", "ranks",
          "tensor-parallel size; divides the ranks, heads, feed-forward width and padded vocabulary"},
        config.parallel.tensor);
  visit(I{"parallel.sequence", 0, 0, "", "", "sequence parallelism inside it: norms and residuals shared out by rows"},
        config.parallel.sequence);
  visit(I{"parallel.overlap", 0, 0, "", "", "reduce gradients and gather weights while computation goes on"},
        config.parallel.overlap);
  visit(I{"parallel.zero", 0, 1, "", "", "1: masters, moments and EMA shared out over the ranks; 0: replicated"},
        config.parallel.zero);
  visit(I{"device.type", 0, 0, "auto|cpu|cuda", "", "where the network runs"}, config.device.type);
  visit(I{"device.threads", 0, 4096, "", "threads", "of each rank; 0: the cores it may use"}, config.device.threads);
  visit(I{"device.peak_tflops", 0, 1e6, "", "TFLOP/s",
          "peak of one rank's device at the run's precision, for model_flops_utilization; 0: known for some GPUs only"},
        config.device.peak_tflops);
  visit(I{"data.path", 0, 0, "", "a folder", "shards to train on", required}, config.data.path);
  visit(I{"data.sampling", 0, 0, "", "a file", "lines PREFIX CAP|- REPEAT; empty: everything once"},
        config.data.sampling);
  visit(I{"eval.path", 0, 0, "", "a folder", "held-out shards"}, config.eval.path);
  visit(I{"eval.benchmark", 0, 0, "", "a file", "benchmark questions"}, config.eval.benchmark);
  visit(I{"eval.interval_steps", 0, most, "", "steps", "0: at the end"}, config.eval.interval_steps);
  visit(I{"checkpoint.dir", 0, 0, "", "a folder", "run folder: checkpoints, metrics, status.json, lock", required},
        config.checkpoint.dir);
  visit(I{"checkpoint.interval_steps", 0, most, "", "steps", "rollbacks prefer checkpoints at its multiples; 0: off"},
        config.checkpoint.interval_steps);
  visit(I{"checkpoint.interval_minutes", 0, 0, "", "minutes or auto",
          "time between saves; 0: off; auto: from their measured cost"},
        config.checkpoint.interval_minutes);
  visit(I{"checkpoint.keep_last", 1, 1000000, "", "files",
          "newest checkpoints that stay, of those at multiples of interval_steps where it is given; the newest of all "
          "besides"},
        config.checkpoint.keep_last);
  visit(I{"checkpoint.keep_every", 0, most, "", "steps", "checkpoints at its multiples stay; 0: none"},
        config.checkpoint.keep_every);
  visit(I{"checkpoint.async", 0, 0, "", "", "write checkpoints while training goes on"}, config.checkpoint.async);
  visit(I{"checkpoint.staging_bytes", 1048576, most, "", "bytes",
          "most memory of a rank for what is not written when weights change"},
        config.checkpoint.staging_bytes);
  visit(I{"guard.enabled", 0, 0, "", "",
          "refuse steps whose loss or gradient norm leaps up; false: only what is not finite, which then ends the run"},
        config.guard.enabled);
  visit(I{"guard.window", 8, 1000000, "", "steps", "accepted steps that loss and gradient norm are compared with"},
        config.guard.window);
  visit(
      I{"guard.spike_factor", 1, 1e6, "", "deviations", "robust standard deviations above the median that are a spike"},
      config.guard.spike_factor);
  visit(I{"guard.max_skips", 1, 1000, "", "steps", "refused in a row before the run goes back to a checkpoint"},
        config.guard.max_skips);
  visit(I{"guard.max_rollbacks", 0, 1000, "", "rollbacks", "in a run; one more is needed: it ends with 76"},
        config.guard.max_rollbacks);
  visit(I{"guard.digest_interval", 0, most, "", "steps",
          "state digest in the metrics, and weights compared between data-parallel ranks; 0: off"},
        config.guard.digest_interval);
  visit(I{"watchdog.enabled", 0, 0, "", "", "end the job with 69 when a rank makes no progress"},
        config.watchdog.enabled);
  visit(I{"watchdog.least_seconds", 0.1, 1e6, "", "s",
          "a section (load, compute, save, …) may always go so long without a sign of life; six times it at first"},
        config.watchdog.least_seconds);
  visit(I{"watchdog.factor", 1, 1e6, "", "", "times the longest that the section has taken, where that is more"},
        config.watchdog.factor);
  visit(I{"metrics.path", 0, 0, "", "a file", "metrics; empty: metrics.h5 in the run folder"}, config.metrics.path);
  visit(I{"io.hints", 0, 0, "", "", "MPI-IO hints NAME=VALUE;…; no effect yet"}, config.io.hints);
  visit(I{"io.stripe_count", 0, 65535, "", "targets", "Lustre stripes of new files; 0: the folder's; no effect yet"},
        config.io.stripe_count);
  visit(I{"run.time_limit", 0, 0, "", "a time",
          "seconds left, [D-]HH:MM:SS left, or an end time YYYY-MM-DDTHH:MM:SS in local time; empty: from the batch "
          "system"},
        config.run.time_limit);
}

}  // namespace hrm::config
