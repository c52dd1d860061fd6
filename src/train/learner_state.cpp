// What a learner starts from and what a checkpoint takes of it.
#include <algorithm>

#include "model/parameters.hpp"
#include "train/learner.hpp"

namespace hrm::train {

void Learner::set(Buffer<float>& state, std::int64_t first, std::int64_t count, const Give& give) {
  mirrored_ = false;
  if (device().is_host()) {
    give(state.span(first, count));
    return;
  }
  Buffer<float> values(count, MemoryPart::data, device().staging());
  give(values.span());
  device().copy(device().compute(), state.data() + first, values.data(), values.bytes());
  device().wait(device().compute());
}

const float* Learner::on_host(const Buffer<float>& values, Buffer<float>& mirror) {
  if (device().is_host()) {
    return values.data();
  }
  if (mirror.size() != values.size()) {
    mirror = Buffer<float>(values.size(), MemoryPart::data, device().staging());
  }
  if (!mirrored_) {
    device().copy(device().compute(), mirror.data(), values.data(), values.bytes());
  }
  return mirror.data();
}

void Learner::initialise() {
  const auto seed = static_cast<std::uint64_t>(config_.train.seed);
  initialise([&](const Parameter& row, std::int64_t first, std::span<float> values) {
    model::initial_values(row, seed, first, values);
  });
}

void Learner::initialise(const ValueSource& values) {
  for (const optim::RowPiece& piece : optimizer_.row_pieces()) {
    set(weights_, piece.first_in_share, piece.count, [&](std::span<float> part) {
      values(table().rows[static_cast<std::size_t>(piece.row)], piece.first_in_row, part);
    });
  }
  if (!zl_init_.empty()) {
    values(*table().find("zL_init"), 0, zl_init_);
  }
  optimizer_.start_average(weights_.span());
  loaded();
}

std::string Learner::restore(const io::CheckpointReader& checkpoint) {
  gather_.finish();  // the masters must not change on their way
  std::string missing;
  const auto read = [&](const std::string& folder, Buffer<float>& state) {
    if (state.size() == 0) {
      return;
    }
    if (checkpoint.find(folder + "/" + table().rows.front().name) == nullptr) {
      missing += (missing.empty() ? "" : ", ") + folder;
      return;
    }
    for (const optim::RowPiece& piece : optimizer_.row_pieces()) {
      const Parameter& row = table().rows[static_cast<std::size_t>(piece.row)];
      set(state, piece.first_in_share, piece.count, [&](std::span<float> part) {
        checkpoint.read(folder + "/" + row.name, row.slice, piece.first_in_row, part);
      });
    }
  };
  read("/model", weights_);
  if (!zl_init_.empty()) {
    checkpoint.read("/model/zL_init", 0, zl_init_);
  }
  optimizer_.start_average(weights_.span());
  read("/optimizer/exp_avg", optimizer_.first_moment());
  read("/optimizer/exp_avg_sq", optimizer_.second_moment());
  read("/ema", optimizer_.average());
  for (std::size_t row = 0; row < table().rows.size(); ++row) {
    const io::TensorInfo* info = checkpoint.find("/optimizer/exp_avg_sq/" + table().rows[row].name);
    optimizer_.counts()[row] = info != nullptr ? info->step : 0;
  }
  return missing;
}

std::vector<io::TensorPart> Learner::parts_of(const std::string& folder, const float* values, bool flat, bool counted) {
  const std::vector<optim::RowPiece> mine = optim::pieces(table(), written_.own_ranges());
  std::vector<io::TensorPart> parts;
  for (int row = 0; row < static_cast<int>(table().rows.size()); ++row) {
    const Parameter& parameter = table().rows[static_cast<std::size_t>(row)];
    if (!parameter.trainable) {
      continue;
    }
    io::TensorPart part;
    part.path = folder + "/" + parameter.name;
    part.slice = parameter.slice;
    part.step = counted ? optimizer_.counts()[static_cast<std::size_t>(row)] : -1;
    const auto piece = std::find_if(mine.begin(), mine.end(), [&](const auto& p) { return p.row == row; });
    if (piece != mine.end()) {
      part.first = piece->first_in_row;
      part.count = piece->count;
      part.data = values + (flat ? parameter.offset + piece->first_in_row : piece->first_in_share);
    }
    parts.push_back(part);
  }
  return parts;
}

std::vector<io::TensorPart> Learner::checkpoint_parts() {
  std::vector<io::TensorPart> parts;
  std::size_t mirror = 0;
  const auto add = [&](const std::string& folder, const Buffer<float>& state, bool counted) {
    const auto more = parts_of(folder, on_host(state, mirrors_[mirror++]), config_.parallel.zero == 0, counted);
    parts.insert(parts.end(), more.begin(), more.end());
  };
  add("/model", weights_, false);
  if (const Parameter* row = table().find("zL_init")) {
    io::TensorPart part;
    part.path = "/model/" + row->name;
    part.slice = row->slice;
    part.count = grid_.world->rank() == 0 ? static_cast<std::int64_t>(zl_init_.size()) : 0;
    part.data = zl_init_.data();
    parts.push_back(part);
  }
  if (config_.train.beta1 > 0) {
    add("/optimizer/exp_avg", optimizer_.first_moment(), true);
  }
  add("/optimizer/exp_avg_sq", optimizer_.second_moment(), true);
  if (config_.train.ema > 0) {
    add("/ema", optimizer_.average(), false);
  }
  device().wait(device().compute());
  mirrored_ = true;
  return parts;
}

std::vector<io::TensorPart> Learner::gradient_parts() {
  const std::span<float> gradient = tree_.result();
  if (device().is_host()) {
    return parts_of("/gradient", gradient.data(), true, false);
  }
  gradient_mirror_.resize(gradient.size());
  device().copy(device().compute(), gradient_mirror_.data(), gradient.data(), gradient.size_bytes());
  device().wait(device().compute());
  return parts_of("/gradient", gradient_mirror_.data(), true, false);
}

}  // namespace hrm::train
