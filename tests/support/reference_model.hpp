#pragma once
// Naive float64 twin of a whole model: forward pass of golden A.3 to A.9, and the loss of B.2, for any configuration.
// Written from the specification alone; its truncated gradient is found by finite differences with the outputs of
// steps that are off held at their values (A.10).
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "config/run_config.hpp"
#include "tests/support/reference.hpp"

namespace hrm::reference {

struct ModelPack {
  Ints inputs;        // (slots)
  Ints position_ids;  // (slots)
  Ints cu_seqlens;    // (S + 1)
  Ints prefix_lens;   // (S)
  Ints labels;        // (slots), -1 where there is none
};

class ModelTwin {
 public:
  using Weights = std::map<std::string, Values>;  // by the names of A.2

  ModelTwin(const config::ModelConfig& config, const ModelPack& pack) : config_(config), pack_(pack) {}

  /// Steps whose name is not in `on` give the output that `frozen` holds for them, where it holds one.
  std::vector<std::string> on;
  std::map<std::string, Values> frozen;
  /// Outputs of all steps of the last run, by name.
  std::map<std::string, Values> trace;

  /// Logits (slots, V).
  Values logits(const Weights& w) {
    const Values z = run(w);
    return product(z, w.at("lm_head"), width());
  }

  /// Mean loss over the labelled rows.
  double loss(const Weights& w) {
    const Values all = logits(w);
    const CrossEntropy result = cross_entropy(all, pack_.labels, 1.0);
    double sum = 0;
    double count = 0;
    for (std::size_t t = 0; t < pack_.labels.size(); ++t) {
      if (pack_.labels[t] >= 0) {
        sum += result.loss[t];
        count += 1;
      }
    }
    return sum / count;
  }

 private:
  std::size_t width() const { return static_cast<std::size_t>(config_.hidden_size); }
  std::size_t slots() const { return pack_.inputs.size(); }

  /// y (rows, out) = x (rows, in) wᵀ.
  static Values product(const Values& x, const Values& w, std::size_t in) {
    const std::size_t rows = x.size() / in;
    const std::size_t out = w.size() / in;
    Values y(rows * out, 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t o = 0; o < out; ++o) {
        for (std::size_t i = 0; i < in; ++i) {
          y[r * out + o] += x[r * in + i] * w[o * in + i];
        }
      }
    }
    return y;
  }

  static Values sum(Values a, const Values& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] += b[i];
    }
    return a;
  }

  Values block(const Values& g, std::size_t number) const {
    Values part(slots() * width());
    for (std::size_t t = 0; t < slots(); ++t) {
      for (std::size_t j = 0; j < width(); ++j) {
        part[t * width() + j] = g[(4 * t + number) * width() + j];
      }
    }
    return part;
  }

  Values attend(const Values& u, const Weights& w, const std::string& layer) const {
    const Values g = product(u, w.at(layer + "gqkv"), width());
    const auto head_dim = static_cast<std::size_t>(config_.head_dim());
    const auto turned = [&](std::size_t number) {
      return config_.position == "rope" ? rope(block(g, number), pack_.position_ids, head_dim, config_.rope_theta, 1)
                                        : block(g, number);
    };
    AttentionCase c;
    c.heads = static_cast<std::size_t>(config_.num_heads);
    c.head_dim = head_dim;
    c.cu_seqlens = pack_.cu_seqlens;
    c.prefix_lens = pack_.prefix_lens;
    c.causal = config_.attention == "causal";
    c.q = turned(1);
    c.k = turned(2);
    c.v = block(g, 3);
    return product(head_gate(block(g, 0), attention(c)), w.at(layer + "o"), width());
  }

  Values feed_forward(const Values& u, const Weights& w, const std::string& layer) const {
    const auto f = static_cast<std::size_t>(config_.intermediate_size);
    return product(swiglu(product(u, w.at(layer + "gate_up"), width()), f), w.at(layer + "down"), f);
  }

  Values norm(const Values& x) const { return rmsnorm(x, width(), config_.norm_eps); }

  Values stack(Values x, const Weights& w, const std::string& name) const {
    const std::string prefix = (name.empty() ? "" : name + ".") + "layers.";
    for (std::int64_t i = 0; i < config_.stack_layers(); ++i) {
      const std::string layer = prefix + std::to_string(i) + ".";
      if (config_.norm == "post") {
        x = norm(sum(x, attend(x, w, layer)));
        x = norm(sum(x, feed_forward(x, w, layer)));
      } else {
        x = sum(x, attend(norm(x), w, layer));
        x = sum(x, feed_forward(norm(x), w, layer));
      }
    }
    return config_.norm == "post" ? x : norm(x);
  }

  Values step(const std::string& name, const Values& input, const Weights& w, const std::string& stack_name) {
    const bool is_on = std::find(on.begin(), on.end(), name) != on.end();
    const auto held = frozen.find(name);
    return trace[name] = is_on || held == frozen.end() ? stack(input, w, stack_name) : held->second;
  }

  Values run(const Weights& w) {
    const Values x = embedding(w.at("embed_tokens"), pack_.inputs, width(), config_.embed_scale);
    Values low;
    if (config_.architecture != "transformer") {
      for (std::size_t t = 0; t < slots(); ++t) {
        low.insert(low.end(), w.at("zL_init").begin(), w.at("zL_init").end());
      }
    }
    const auto named = [](const char* letter, std::int64_t k) { return std::string(letter) + "_" + std::to_string(k); };
    if (config_.architecture == "transformer") {
      return step("T_0", x, w, "");
    }
    if (config_.architecture == "ut") {
      for (std::int64_t c = 0; c < config_.cycles; ++c) {
        low = step(named("L", c), sum(low, x), w, "L");
      }
      return low;
    }
    if (config_.architecture == "rins") {
      for (std::int64_t c = 0; c < config_.l_cycles; ++c) {
        low = step(named("L", c), sum(low, x), w, "L");
      }
      return step("H_0", low, w, "H");
    }
    Values high = x;
    for (std::int64_t i = 0; i < config_.h_cycles; ++i) {
      for (std::int64_t j = 0; j < config_.l_cycles; ++j) {
        low = step(named("L", i * config_.l_cycles + j), sum(low, high), w, "L");
      }
      high = step(named("H", i), sum(high, low), w, config_.architecture == "trm" ? "L" : "H");
    }
    return high;
  }

  config::ModelConfig config_;
  ModelPack pack_;
};

}  // namespace hrm::reference
