#pragma once
// Naive float64 twins of the kernels: plain loops that follow the equations, the truth that kernels are tested against.
// Matrices are row-major std::vector<double> without padding between rows.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hrm::reference {

using Values = std::vector<double>;
using Ints = std::vector<std::int32_t>;

inline double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

/// y = x / sqrt(mean(x²) + eps), row by row (rows, cols).
inline Values rmsnorm(const Values& x, std::size_t cols, double eps) {
  Values y(x.size());
  for (std::size_t first = 0; first < x.size(); first += cols) {
    double squares = 0;
    for (std::size_t j = 0; j < cols; ++j) {
      squares += x[first + j] * x[first + j];
    }
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(cols) + eps);
    for (std::size_t j = 0; j < cols; ++j) {
      y[first + j] = x[first + j] * r;
    }
  }
  return y;
}

/// dx = r (dy - y mean(dy y)).
inline Values rmsnorm_gradient(const Values& x, const Values& dy, std::size_t cols, double eps) {
  const Values y = rmsnorm(x, cols, eps);
  Values dx(x.size());
  for (std::size_t first = 0; first < x.size(); first += cols) {
    double squares = 0;
    double dot = 0;
    for (std::size_t j = first; j < first + cols; ++j) {
      squares += x[j] * x[j];
      dot += dy[j] * y[j];
    }
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(cols) + eps);
    for (std::size_t j = first; j < first + cols; ++j) {
      dx[j] = r * (dy[j] - y[j] * dot / static_cast<double>(cols));
    }
  }
  return dx;
}

/// Rotates channel pairs (j, j + d/2) of every head of x (tokens, heads * d) by direction * p theta^(-2j/d);
/// direction -1 is the gradient.
inline Values rope(Values x, const Ints& positions, std::size_t head_dim, double theta, double direction) {
  const std::size_t cols = x.size() / positions.size();
  const std::size_t half = head_dim / 2;
  for (std::size_t first = 0; first < x.size(); first += head_dim) {
    for (std::size_t j = 0; j < half; ++j) {
      const double frequency = std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
      const double angle = direction * positions[first / cols] * frequency;
      const double a = x[first + j];
      const double b = x[first + half + j];
      x[first + j] = a * std::cos(angle) - b * std::sin(angle);
      x[first + half + j] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
  return x;
}

/// Operands of attention: q, k, v (tokens, heads * head_dim) and the packed sequences.
struct AttentionCase {
  Values q;
  Values k;
  Values v;
  Ints cu_seqlens;
  Ints prefix_lens;
  bool causal = false;
  std::size_t heads = 1;
  std::size_t head_dim = 2;
};

struct AttentionGradient {
  Values dq;
  Values dk;
  Values dv;
};

/// Whether query i sees key j, both counted from the start of their sequence (A.6).
inline bool sees(bool causal, std::int32_t prefix, std::int32_t i, std::int32_t j) {
  return j <= i || (!causal && i < prefix && j < prefix);
}

/// Calls row(first token, token, head, weights of the tokens of its sequence) for every token and head.
template <class Row>
void for_attention_rows(const AttentionCase& c, const Row& row) {
  const std::size_t cols = c.heads * c.head_dim;
  for (std::size_t s = 0; s + 1 < c.cu_seqlens.size(); ++s) {
    const std::int32_t first = c.cu_seqlens[s];
    const std::int32_t length = c.cu_seqlens[s + 1] - first;
    for (std::int32_t i = 0; i < length; ++i) {
      for (std::size_t h = 0; h < c.heads; ++h) {
        Values weights(static_cast<std::size_t>(length), 0.0);
        double total = 0;
        for (std::int32_t j = 0; j < length; ++j) {
          if (!sees(c.causal, c.prefix_lens[s], i, j)) {
            continue;
          }
          double score = 0;
          for (std::size_t x = h * c.head_dim; x < (h + 1) * c.head_dim; ++x) {
            score += c.q[static_cast<std::size_t>(first + i) * cols + x] *
                     c.k[static_cast<std::size_t>(first + j) * cols + x];
          }
          weights[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(static_cast<double>(c.head_dim)));
          total += weights[static_cast<std::size_t>(j)];
        }
        for (double& weight : weights) {
          weight /= total;
        }
        row(static_cast<std::size_t>(first), static_cast<std::size_t>(first + i), h, weights);
      }
    }
  }
}

/// softmax(q kᵀ / sqrt(d) + mask) v; padding rows 0. Scores must be small enough for exp without a shift.
inline Values attention(const AttentionCase& c) {
  const std::size_t cols = c.heads * c.head_dim;
  Values out(c.q.size(), 0.0);
  for_attention_rows(c, [&](std::size_t first, std::size_t i, std::size_t h, const Values& weights) {
    for (std::size_t j = 0; j < weights.size(); ++j) {
      for (std::size_t x = h * c.head_dim; x < (h + 1) * c.head_dim; ++x) {
        out[i * cols + x] += weights[j] * c.v[(first + j) * cols + x];
      }
    }
  });
  return out;
}

/// Log-sum-exp of the scaled scores of each row, (heads, tokens); padding 0. A token sees itself: its own weight tells.
inline Values attention_lse(const AttentionCase& c) {
  const std::size_t cols = c.heads * c.head_dim;
  const std::size_t tokens = c.q.size() / cols;
  Values lse(c.heads * tokens, 0.0);
  for_attention_rows(c, [&](std::size_t first, std::size_t i, std::size_t h, const Values& weights) {
    double score = 0;
    for (std::size_t x = h * c.head_dim; x < (h + 1) * c.head_dim; ++x) {
      score += c.q[i * cols + x] * c.k[i * cols + x];
    }
    lse[h * tokens + i] = score / std::sqrt(static_cast<double>(c.head_dim)) - std::log(weights[i - first]);
  });
  return lse;
}

/// dS = P (dP - Σ P dP), dq = dS k / sqrt(d), dk = dSᵀ q / sqrt(d), dv = Pᵀ dout.
inline AttentionGradient attention_gradient(const AttentionCase& c, const Values& dout) {
  const std::size_t cols = c.heads * c.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  AttentionGradient g{Values(c.q.size(), 0.0), Values(c.q.size(), 0.0), Values(c.q.size(), 0.0)};
  for_attention_rows(c, [&](std::size_t first, std::size_t i, std::size_t h, const Values& weights) {
    Values dweights(weights.size(), 0.0);
    double mean = 0;
    for (std::size_t j = 0; j < weights.size(); ++j) {
      for (std::size_t x = h * c.head_dim; x < (h + 1) * c.head_dim; ++x) {
        dweights[j] += dout[i * cols + x] * c.v[(first + j) * cols + x];
        g.dv[(first + j) * cols + x] += weights[j] * dout[i * cols + x];
      }
      mean += weights[j] * dweights[j];
    }
    for (std::size_t j = 0; j < weights.size(); ++j) {
      const double dscore = weights[j] * (dweights[j] - mean) * scale;
      for (std::size_t x = h * c.head_dim; x < (h + 1) * c.head_dim; ++x) {
        g.dq[i * cols + x] += dscore * c.k[(first + j) * cols + x];
        g.dk[(first + j) * cols + x] += dscore * c.q[i * cols + x];
      }
    }
  });
  return g;
}

/// sigmoid(gate) ⊙ a.
inline Values head_gate(const Values& gate, const Values& a) {
  Values y(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    y[i] = sigmoid(gate[i]) * a[i];
  }
  return y;
}

struct HeadGateGradient {
  Values dgate;
  Values da;
};

inline HeadGateGradient head_gate_gradient(const Values& gate, const Values& a, const Values& dy) {
  HeadGateGradient g{Values(a.size()), Values(a.size())};
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double s = sigmoid(gate[i]);
    g.dgate[i] = dy[i] * a[i] * s * (1.0 - s);
    g.da[i] = dy[i] * s;
  }
  return g;
}

/// h (rows, F) = silu(g) ⊙ p with x (rows, 2F) = [g | p].
inline Values swiglu(const Values& x, std::size_t f) {
  Values h(x.size() / 2);
  for (std::size_t i = 0; i < h.size(); ++i) {
    const double g = x[i / f * 2 * f + i % f];
    h[i] = g * sigmoid(g) * x[i / f * 2 * f + f + i % f];
  }
  return h;
}

inline Values swiglu_gradient(const Values& x, const Values& dh, std::size_t f) {
  Values dx(x.size());
  for (std::size_t i = 0; i < dh.size(); ++i) {
    const std::size_t at = i / f * 2 * f + i % f;
    const double g = x[at];
    const double s = sigmoid(g);
    dx[at] = dh[i] * x[at + f] * s * (1.0 + g * (1.0 - s));
    dx[at + f] = dh[i] * g * s;
  }
  return dx;
}

/// x[t] = scale table[ids[t]], rows of `cols`.
inline Values embedding(const Values& table, const Ints& ids, std::size_t cols, double scale) {
  Values x(ids.size() * cols);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = scale * table[static_cast<std::size_t>(ids[i / cols]) * cols + i % cols];
  }
  return x;
}

inline Values embedding_gradient(const Values& dx, const Ints& ids, std::size_t cols, std::size_t rows, double scale) {
  Values dtable(rows * cols, 0.0);
  for (std::size_t i = 0; i < dx.size(); ++i) {
    dtable[static_cast<std::size_t>(ids[i / cols]) * cols + i % cols] += scale * dx[i];
  }
  return dtable;
}

struct CrossEntropy {
  Values loss;     // (rows); 0 for label -1
  Ints argmax;     // (rows); -1 for label -1
  Values dlogits;  // (rows, cols)
};

inline CrossEntropy cross_entropy(const Values& logits, const Ints& labels, double gradient_scale) {
  const std::size_t cols = logits.size() / labels.size();
  CrossEntropy result{Values(labels.size(), 0.0), Ints(labels.size(), -1), Values(logits.size(), 0.0)};
  for (std::size_t r = 0; r < labels.size(); ++r) {
    if (labels[r] < 0) {
      continue;
    }
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(r * cols);
    const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(cols));
    double sum = 0;
    for (std::size_t j = 0; j < cols; ++j) {
      sum += std::exp(logits[r * cols + j] - *best);
    }
    const double lse = *best + std::log(sum);
    for (std::size_t j = 0; j < cols; ++j) {
      const double target = static_cast<std::size_t>(labels[r]) == j ? 1.0 : 0.0;
      result.dlogits[r * cols + j] = (std::exp(logits[r * cols + j] - lse) - target) * gradient_scale;
    }
    result.loss[r] = lse - logits[r * cols + static_cast<std::size_t>(labels[r])];
    result.argmax[r] = static_cast<std::int32_t>(best - row);
  }
  return result;
}

/// State of Adam-atan2 (B.3); m is unused with beta1 = 0.
struct AdamState {
  Values w;
  Values m;
  Values v;
  Values e;
};

inline void adam_atan2(AdamState& s, const Values& g, double lr, double decay, double beta1, double beta2, double ema,
                       std::int64_t t) {
  const double bias1 = 1.0 - std::pow(beta1, static_cast<double>(t));
  const double bias2 = 1.0 - std::pow(beta2, static_cast<double>(t));
  for (std::size_t i = 0; i < g.size(); ++i) {
    s.m[i] = beta1 * s.m[i] + (1.0 - beta1) * g[i];
    s.v[i] = beta2 * s.v[i] + (1.0 - beta2) * g[i] * g[i];
    s.w[i] = s.w[i] * (1.0 - lr * decay) - lr / bias1 * std::atan2(s.m[i], std::sqrt(s.v[i] / bias2));
    s.e[i] = ema * s.e[i] + (1.0 - ema) * s.w[i];
  }
}

}  // namespace hrm::reference
