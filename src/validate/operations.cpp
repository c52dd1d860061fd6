// Single operations (golden C.4): inputs and upstream gradients from the file, outputs and gradients from the kernels.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/attention.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/embedding.hpp"
#include "kernels/head_gate.hpp"
#include "kernels/rmsnorm.hpp"
#include "kernels/rope.hpp"
#include "kernels/swiglu.hpp"
#include "validate/array.hpp"
#include "validate/cases.hpp"
#include "validate/sequences.hpp"

namespace hrm::validate {
namespace {

/// One group: reads its data sets as matrices and compares results with them.
class Group {
 public:
  Group(const GoldenFile& file, std::string path, Report& report, Device& device)
      : file_(file), path_(std::move(path)), report_(report), device_(device) {
    limits_ = report.precision() == Precision::fp32 ? fp32_limits : bf16_operation_limits;
  }

  const GoldenFile& file() const { return file_; }
  const std::string& path() const { return path_; }
  Report& report() const { return report_; }
  Device& device() const { return device_; }
  Stream stream() const { return device_.compute(); }
  std::string at(const std::string& name) const { return path_ + "/" + name; }
  double attribute(const std::string& name) const { return file_.real_attribute(path_, name); }

  /// Shape of `name`: (rows, cols), or (rows, heads, head_dim).
  Shape shape(const std::string& name, std::size_t dimensions) const {
    Shape found = file_.shape(at(name));
    const bool empty = std::any_of(found.begin(), found.end(), [](std::int64_t extent) { return extent < 1; });
    if (found.size() != dimensions || empty) {
      file_.refuse(at(name), "has another number of dimensions or no elements");
    }
    return found;
  }

  template <class T>
  Array<T> matrix(const std::string& name, const Shape& shape) const {
    return Array<T>(file_.reals(at(name), shape), shape[0], element_count(shape) / shape[0], device_);
  }
  template <class T>
  Array<T> like(const Shape& shape) const {
    return Array<T>(shape[0], element_count(shape) / shape[0], device_);
  }
  Buffer<float> floats(std::int64_t count) const {
    return Buffer<float>(count, MemoryPart::workspace, device_.memory());
  }
  /// A list where kernels read it.
  template <class V>
  Buffer<V> list(const std::vector<V>& values) const {
    return sent(std::span<const V>(values), device_);
  }

  template <class T>
  void value(const std::string& name, const Array<T>& computed, const Shape& shape) const {
    report_.reals(at(name).substr(1), computed.values(), file_.reals(at(name), shape), limits_.value);
  }
  template <class T>
  void gradient(const std::string& name, const Array<T>& computed, const Shape& shape) const {
    report_.reals(at(name).substr(1), computed.values(), file_.reals(at(name), shape), limits_.gradient);
  }
  /// Ids below `bound`, `nothing` (a negative mark) allowed.
  std::vector<std::int32_t> ids(const std::string& name, std::int64_t count, std::int64_t bound,
                                std::int32_t nothing) const {
    std::vector<std::int32_t> values = file_.ids(at(name), {count});
    for (const std::int32_t id : values) {
      if (id != nothing && (id < 0 || id >= bound)) {
        file_.refuse(at(name), fmt::format("{} is outside 0 .. {}", id, bound - 1));
      }
    }
    return values;
  }

 private:
  const GoldenFile& file_;
  std::string path_;
  Report& report_;
  Device& device_;
  Limits limits_{};
};

template <class T>
void rms_norm(const Group& group) {
  const Shape shape = group.shape("x", 2);  // (rows, D)
  const Array<T> x = group.matrix<T>("x", shape);
  const Array<T> d_y = group.matrix<T>("d_y", shape);
  Array<T> y = group.like<T>(shape);
  Array<T> d_x = group.like<T>(shape);
  Buffer<float> rstd = group.floats(shape[0]);

  kernels::rmsnorm_forward<T>(group.stream(), x.matrix(), static_cast<float>(group.attribute("eps")), y.matrix(),
                              rstd.span());
  kernels::rmsnorm_backward<T>(group.stream(), std::as_const(y).matrix(), rstd.span(), d_y.matrix(), d_x.matrix(),
                               false);

  group.value("y", y, shape);
  group.gradient("d_x", d_x, shape);
}

template <class T>
void rope(const Group& group) {
  constexpr std::int64_t most_positions = 1 << 24;
  const Shape shape = group.shape("x", 3);  // (T, heads, head_dim)
  Array<T> x = group.matrix<T>("x", shape);
  Array<T> d_y = group.matrix<T>("d_y", shape);
  const std::vector<std::int32_t> positions = group.ids("position_ids", shape[0], most_positions, 0);
  const std::int64_t longest = *std::max_element(positions.begin(), positions.end()) + 1;
  const kernels::RopeTable table(longest, shape[2], group.attribute("theta"), group.device());
  const Buffer<std::int32_t> places = group.list(positions);

  kernels::rope_forward<T>(group.stream(), table, places.span(), x.matrix());
  kernels::rope_backward<T>(group.stream(), table, places.span(), d_y.matrix());

  group.value("y", x, shape);
  group.gradient("d_x", d_y, shape);
}

template <class T>
void attention(const Group& group, kernels::MaskType mask) {
  const Shape shape = group.shape("q", 3);  // (T, heads, head_dim)
  const Sequences sequences = read_sequences(group.file(), group.path(), shape[0], group.report());
  kernels::SequenceLayout layout{sequences.cu_seqlens, sequences.prefix_lens, mask};
  std::vector<kernels::AttentionTile> tiles;
  kernels::attention_tiles(layout, tiles);
  const Buffer<kernels::AttentionTile> device_tiles = group.list(tiles);
  layout.tiles = device_tiles.span();
  const Array<T> q = group.matrix<T>("q", shape);
  const Array<T> k = group.matrix<T>("k", shape);
  const Array<T> v = group.matrix<T>("v", shape);
  const Array<T> d_out = group.matrix<T>("d_out", shape);
  Array<T> out = group.like<T>(shape);
  Array<T> d_q = group.like<T>(shape);
  Array<T> d_k = group.like<T>(shape);
  Array<T> d_v = group.like<T>(shape);
  Buffer<float> lse = group.floats(shape[0] * shape[1]);
  kernels::AttentionWorkspace workspace(std::max<std::int64_t>(sequences.longest, 1), shape[2],
                                        {shape[1], shape[0], true}, group.device());

  kernels::attention_forward<T>(group.stream(), layout, shape[1], q.matrix(), k.matrix(), v.matrix(), out.matrix(),
                                lse.span(), workspace);
  kernels::attention_backward<T>(group.stream(), layout, shape[1], q.matrix(), k.matrix(), v.matrix(),
                                 std::as_const(out).matrix(), lse.span(), d_out.matrix(), d_q.matrix(), d_k.matrix(),
                                 d_v.matrix(), workspace);

  group.value("out", out, shape);
  group.gradient("d_q", d_q, shape);
  group.gradient("d_k", d_k, shape);
  group.gradient("d_v", d_v, shape);
}

template <class T>
void attention_prefixlm(const Group& group) {
  attention<T>(group, kernels::MaskType::prefixlm);
}

template <class T>
void attention_causal(const Group& group) {
  attention<T>(group, kernels::MaskType::causal);
}

template <class T>
void head_gate(const Group& group) {
  const Shape shape = group.shape("a", 3);  // (T, heads, head_dim)
  const Array<T> gate = group.matrix<T>("gate", shape);
  const Array<T> a = group.matrix<T>("a", shape);
  const Array<T> d_y = group.matrix<T>("d_y", shape);
  Array<T> y = group.like<T>(shape);
  Array<T> again = group.like<T>(shape);
  Array<T> d_gate = group.like<T>(shape);
  Array<T> d_a = group.like<T>(shape);

  kernels::head_gate_forward<T>(group.stream(), gate.matrix(), a.matrix(), y.matrix());
  kernels::head_gate_backward<T>(group.stream(), gate.matrix(), a.matrix(), d_y.matrix(), d_gate.matrix(), d_a.matrix(),
                                 again.matrix());

  group.value("y", y, shape);
  group.gradient("d_gate", d_gate, shape);
  group.gradient("d_a", d_a, shape);
}

template <class T>
void swiglu(const Group& group) {
  const Shape narrow = group.shape("h", 2);  // (rows, F)
  const Shape wide{narrow[0], 2 * narrow[1]};
  const Array<T> x = group.matrix<T>("x", wide);
  const Array<T> d_h = group.matrix<T>("d_h", narrow);
  Array<T> h = group.like<T>(narrow);
  Array<T> again = group.like<T>(narrow);
  Array<T> d_x = group.like<T>(wide);

  kernels::swiglu_forward<T>(group.stream(), x.matrix(), h.matrix());
  kernels::swiglu_backward<T>(group.stream(), x.matrix(), d_h.matrix(), d_x.matrix(), again.matrix());

  group.value("h", h, narrow);
  group.gradient("d_x", d_x, wide);
}

template <class T>
void embedding(const Group& group) {
  const Shape table_shape = group.shape("table", 2);            // (V, D)
  const Shape shape{group.shape("ids", 1)[0], table_shape[1]};  // (T, D)
  const std::vector<std::int32_t> ids = group.ids("ids", shape[0], table_shape[0], 0);
  const auto scale = static_cast<float>(group.attribute("scale"));
  const Array<T> table = group.matrix<T>("table", table_shape);
  const Array<T> d_y = group.matrix<T>("d_y", shape);
  Array<T> y = group.like<T>(shape);
  Array<float> d_table = group.like<float>(table_shape);
  kernels::EmbeddingOrderBuffer order(shape[0]);
  kernels::sort_by_id(ids, order);
  const Buffer<std::int32_t> tokens = group.list(ids);
  const Buffer<std::int32_t> words = sent(order.words(), group.device());
  Buffer<float> partials = group.floats(kernels::embedding_partial_rows(shape[0]) * shape[1]);

  kernels::embedding_forward<T>(group.stream(), table.matrix(), tokens.span(), scale, y.matrix());
  kernels::embedding_backward<T>(group.stream(), order.order_at(words.data()), d_y.matrix(), scale, d_table.matrix(), 0,
                                 partials.span());

  group.value("y", y, shape);
  group.gradient("d_table", d_table, table_shape);
}

template <class T>
void cross_entropy(const Group& group) {
  constexpr std::int32_t ignored = -100;         // of the files
  constexpr std::int32_t padding = -1;           // of the kernel
  const Shape shape = group.shape("logits", 2);  // (rows, V)
  std::vector<std::int32_t> labels = group.ids("labels", shape[0], shape[1], ignored);
  std::replace(labels.begin(), labels.end(), ignored, padding);
  const std::int64_t valid = shape[0] - std::count(labels.begin(), labels.end(), padding);
  const double divisor = static_cast<double>(std::max<std::int64_t>(valid, 1));
  const Array<float> logits = group.matrix<float>("logits", shape);
  Array<T> d_logits = group.like<T>(shape);
  Buffer<float> losses = group.floats(shape[0]);
  Buffer<std::int32_t> argmax(shape[0], MemoryPart::workspace, group.device().memory());
  const Buffer<std::int32_t> targets = group.list(labels);

  kernels::cross_entropy<T>(group.stream(), logits.matrix(), targets.span(), static_cast<float>(1 / divisor),
                            d_logits.matrix(), losses.span(), argmax.span());

  double sum = 0;
  for (const float loss : received(losses, group.device())) {
    sum += static_cast<double>(loss);
  }
  // Logits and losses are float32 in both precisions.
  group.report().real(group.at("loss_sum").substr(1), sum, group.file().real(group.at("loss_sum")), fp32_limits.value);
  group.report().real(group.at("loss").substr(1), sum / divisor, group.file().real(group.at("loss")),
                      fp32_limits.value);
  group.report().count(group.at("valid_count").substr(1), valid, group.file().integer(group.at("valid_count")));
  group.gradient("d_logits", d_logits, shape);
}

using Operation = void (*)(const Group&);

template <class T>
const std::map<std::string, Operation>& operations() {
  static const std::map<std::string, Operation> table{{"rms_norm", rms_norm<T>},
                                                      {"rope", rope<T>},
                                                      {"attention_prefixlm", attention_prefixlm<T>},
                                                      {"attention_causal", attention_causal<T>},
                                                      {"head_gate", head_gate<T>},
                                                      {"swiglu", swiglu<T>},
                                                      {"embedding", embedding<T>},
                                                      {"cross_entropy", cross_entropy<T>}};
  return table;
}

template <class T>
void validate_all(const GoldenFile& file, Device& device, Report& report) {
  for (const std::string& name : file.children("/")) {
    const auto found = operations<T>().find(name);
    if (found == operations<T>().end()) {
      file.refuse("/" + name, "is no operation that is known");
    }
    found->second(Group(file, "/" + name, report, device));
  }
}

}  // namespace

bool is_operation(const std::string& group) {
  return operations<float>().contains(group);
}

void validate_operations(const GoldenFile& file, Device& device, Report& report) {
  if (report.precision() == Precision::fp32) {
    validate_all<float>(file, device, report);
  } else {
    validate_all<bf16>(file, device, report);
  }
}

}  // namespace hrm::validate
