// What validation sees of a pass: slow, allocates.
#include <algorithm>

#include "base/error.hpp"
#include "model/network_of.hpp"

namespace hrm::model {

/// All rows of a state, of which this rank has its own, on the host.
template <class T>
std::vector<float> NetworkOf<T>::whole(Matrix<const T> state) {
  const Matrix<const T> all = group().gather(stream_, state, slots_);
  ensure(all.stride == all.cols, "states are dense");
  std::vector<T> values(static_cast<std::size_t>(all.rows * all.cols));
  device_.copy(stream_, values.data(), all.data, values.size() * sizeof(T));
  finish_exchanges();
  device_.wait(stream_);
  std::vector<float> out(values.size());
  std::transform(values.begin(), values.end(), out.begin(), [](T v) { return to_float(v); });
  return out;
}

template <class T>
std::vector<float> NetworkOf<T>::whole_logits(Matrix<const T> z) {
  const std::int64_t columns = weights_.head().out();
  const auto floats = [&](std::int64_t count) { return Buffer<float>(count, MemoryPart::workspace, device_.memory()); };
  Buffer<float> own = floats(slots_ * columns);
  const Matrix<float> logits(own.data(), slots_, columns);
  kernels::linear_forward_f32<T>(stream_, group().gather(stream_, z, slots_), weights_.head(), logits);
  Buffer<float> space = floats(group().alone() ? 0 : own.size() * group().place().size);
  Buffer<float> all = floats(space.size());
  if (!group().alone()) {
    group().gather_columns(stream_, logits, space.span(), {all.data(), slots_, config_.vocab_size});
  }
  const Buffer<float>& result = group().alone() ? own : all;
  std::vector<float> out(static_cast<std::size_t>(result.size()));
  device_.copy(stream_, out.data(), result.data(), result.bytes());
  finish_exchanges();
  device_.wait(stream_);
  return out;
}

template <class T>
Inspection NetworkOf<T>::inspect(const PackView& pack) {
  const Program& p = programs_.begin()->second;
  Inspection result;
  result.sums = evaluate(pack);
  const PackWork& work = work_.prepare(pack);
  const Sequences layout = sequences(work);
  // Again, step by step: a value's slot may have been given to a later one.
  embed_tokens(p, work);
  for (int k = 0; k < static_cast<int>(p.steps.size()); ++k) {
    run_stack(p, k, layout, scratch_record_, value(p, value_of_step(k)));
    result.trace.emplace_back(p.steps[static_cast<std::size_t>(k)].name, whole(value(p, value_of_step(k))));
  }
  result.z = result.trace.back().second;
  need(weights_.head_bucket());
  result.logits = whole_logits(value(p, p.output()));
  return result;
}

#define HRM_INSTANTIATE(T)                                                 \
  template std::vector<float> NetworkOf<T>::whole(Matrix<const T>);        \
  template std::vector<float> NetworkOf<T>::whole_logits(Matrix<const T>); \
  template Inspection NetworkOf<T>::inspect(const PackView&);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::model
