#include "train/learner.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"
#include "model/parameters.hpp"

namespace hrm::train {
namespace {

constexpr std::size_t votes = 2;
constexpr std::size_t sums_per_pack = 5;

comm::FlatRange owned_range(comm::Communicator& group, const ParameterTable& table, bool shared) {
  return shared ? comm::flat_share(table.flat_size, group.rank(), group.size()) : comm::FlatRange{0, table.flat_size};
}

std::int64_t flat_blocks(std::int64_t flat_size) {
  return (flat_size + flat_block - 1) / flat_block;
}

/// A tensor of which this rank has nothing yet.
io::TensorPart tensor_part(const Parameter& row, const std::string& folder) {
  io::TensorPart part;
  part.path = folder + "/" + row.name;
  part.shape = row.shape;
  return part;
}

}  // namespace

/// Where a pack's gradient goes: the tree's current buffer. Finished rows drive progress of transfers under way.
class Learner::Sink final : public model::GradientSink {
 public:
  Sink(comm::Communicator& group, std::span<float> flat) : group_(group), flat_(flat) {}
  std::span<float> flat() override { return flat_; }
  void done(int) override { group_.poll(); }

 private:
  comm::Communicator& group_;
  std::span<float> flat_;
};

Learner::Learner(comm::Communicator& group, const config::RunConfig& config, Precision precision)
    : group_(group),
      config_(config),
      network_(model::Network::make(config.model, precision, config.train.pack_tokens, model::Purpose::training,
                                    config.train.recompute)),
      owned_(owned_range(group, table(), config.parallel.zero > 0)),
      written_(comm::flat_share(table().flat_size, group.rank(), group.size())),
      weights_(table().flat_size, MemoryPart::weights),
      gradient_(owned_.count(), MemoryPart::gradients),
      optimizer_(table(), owned_.first, owned_.last, config.train),
      tree_(group, config.train.packs, table().flat_size, config.parallel.zero > 0) {
  for (int rank = 0; rank < group.size(); ++rank) {
    first_.push_back(comm::flat_share(table().flat_size, rank, group.size()).first);
  }
  first_.push_back(table().flat_size);
  if (const Parameter* row = table().find("zL_init")) {
    zl_init_.resize(static_cast<std::size_t>(row->count()));
  }
  scalars_.resize(votes + sums_per_pack * static_cast<std::size_t>(config.train.packs) +
                  static_cast<std::size_t>(flat_blocks(table().flat_size)));
  pack_sums_.reserve(static_cast<std::size_t>(tree_.share().count()));
}

void Learner::initialise() {
  const auto seed = static_cast<std::uint64_t>(config_.train.seed);
  for (const Parameter& row : table().rows) {
    model::initial_values(row, seed, 0,
                          row.trainable ? weights_.span(row.offset, row.count()) : std::span<float>(zl_init_));
  }
  optimizer_.start_average(own(weights_));
  load_masters();
}

void Learner::initialise_from(std::span<const float> flat, std::span<const float> zl_init) {
  std::copy(flat.begin(), flat.end(), weights_.data());
  zl_init_.assign(zl_init.begin(), zl_init.end());
  optimizer_.start_average(own(weights_));
  load_masters();
}

std::string Learner::restore(const io::CheckpointReader& checkpoint) {
  for (const Parameter& row : table().rows) {
    checkpoint.read("/model/" + row.name, 0,
                    row.trainable ? weights_.span(row.offset, row.count()) : std::span<float>(zl_init_));
  }
  optimizer_.start_average(own(weights_));
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
      const std::string path = folder + "/" + table().rows[static_cast<std::size_t>(piece.row)].name;
      checkpoint.read(path, piece.first_in_row, state.span(piece.first_in_range, piece.count));
    }
  };
  read("/optimizer/exp_avg", optimizer_.first_moment());
  read("/optimizer/exp_avg_sq", optimizer_.second_moment());
  read("/ema", optimizer_.average());
  for (std::size_t row = 0; row < table().rows.size(); ++row) {
    const io::TensorInfo* info = checkpoint.find("/optimizer/exp_avg_sq/" + table().rows[row].name);
    optimizer_.counts()[row] = info != nullptr ? info->step : 0;
  }
  load_masters();
  return missing;
}

void Learner::begin_step() {
  tree_.start();
  pack_sums_.clear();
  seconds_ = {};
}

void Learner::accumulate(const model::PackView& pack, model::Horizon horizon, double divisor) {
  const Timer timer;
  Sink sink(group_, tree_.current());
  pack_sums_.push_back(network_->forward_backward(pack, horizon, divisor, sink));
  tree_.pack_done();
  seconds_.forward += network_->forward_seconds();
  seconds_.backward += timer.seconds() - network_->forward_seconds();
}

/// Square sums of the flat blocks that this rank sums; blocks are never cut, so every one is made whole on one rank.
void Learner::add_square_sums() {
  const std::size_t first = votes + sums_per_pack * static_cast<std::size_t>(config_.train.packs) +
                            static_cast<std::size_t>(written_.first / flat_block);
  const auto blocks = static_cast<std::size_t>(flat_blocks(written_.count()));
  const auto mine = gradient_.span(written_.first - owned_.first, written_.count());
  kernels::block_square_sums(Stream{}, mine, flat_block, std::span(scalars_).subspan(first, blocks));
}

void Learner::share_scalars(StepResult& result, bool vote_stop, bool vote_save) {
  std::fill(scalars_.begin(), scalars_.end(), 0.0);
  scalars_[0] = vote_stop ? 1 : 0;
  scalars_[1] = vote_save ? 1 : 0;
  double* slot = scalars_.data() + votes + sums_per_pack * static_cast<std::size_t>(tree_.share().first);
  for (const model::PackSums& pack : pack_sums_) {
    *slot++ = pack.loss_sum;
    *slot++ = static_cast<double>(pack.tokens);
    *slot++ = static_cast<double>(pack.correct);
    *slot++ = static_cast<double>(pack.exact);
    *slot++ = static_cast<double>(pack.sequences);
  }
  add_square_sums();
  const Timer timer;
  group_.sum(std::span<double>(scalars_));
  seconds_.communication += timer.seconds();
  result.stop_votes = scalars_[0];
  result.save_votes = scalars_[1];
  const double* pack = scalars_.data() + votes;
  for (std::int64_t i = 0; i < config_.train.packs; ++i, pack += sums_per_pack) {
    result.sums.loss_sum += pack[0];
    result.sums.tokens += static_cast<std::int64_t>(pack[1]);
    result.sums.correct += static_cast<std::int64_t>(pack[2]);
    result.sums.exact += static_cast<std::int64_t>(pack[3]);
    result.sums.sequences += static_cast<std::int64_t>(pack[4]);
  }
  double squares = 0;
  for (const double* block = pack; block != scalars_.data() + scalars_.size(); ++block) {
    squares += *block;
  }
  result.gradient_norm = std::sqrt(squares);
  result.finite = std::isfinite(result.sums.loss_sum) && std::isfinite(squares);
}

void Learner::gather(Buffer<float>& flat) {
  if (config_.parallel.zero > 0) {
    const Timer timer;
    group_.all_gather(flat.span(), first_);
    seconds_.communication += timer.seconds();
  }
}

StepResult Learner::finish_step(model::Horizon horizon, double learning_rate, bool vote_stop, bool vote_save) {
  StepResult result;
  seconds_.communication += tree_.reduce(gradient_.span());
  share_scalars(result, vote_stop, vote_save);
  if (result.finite) {
    const Timer timer;
    const double before = seconds_.communication;
    optimizer_.update(own(weights_), gradient_.span(), learning_rate,
                      [&](int row) { return network_->has_gradient(row, horizon); });
    gather(weights_);
    load_masters();
    seconds_.optimizer += timer.seconds() - (seconds_.communication - before);
  }
  result.seconds = seconds_;
  return result;
}

std::vector<io::TensorPart> Learner::checkpoint_parts() {
  const std::vector<optim::RowPiece> mine = optim::pieces(table(), written_.first, written_.last);
  const std::int64_t shift = written_.first - owned_.first;  // of the written range inside the owned one
  std::vector<io::TensorPart> parts;
  const auto add = [&](const std::string& folder, int row, const float* range, std::int64_t step) {
    io::TensorPart part = tensor_part(table().rows[static_cast<std::size_t>(row)], folder);
    part.step = step;
    const auto piece = std::find_if(mine.begin(), mine.end(), [&](const auto& p) { return p.row == row; });
    if (piece != mine.end()) {
      part.first = piece->first_in_row;
      part.count = piece->count;
      part.data = range + piece->first_in_range;
    }
    parts.push_back(part);
  };
  for (int row = 0; row < static_cast<int>(table().rows.size()); ++row) {
    if (!table().rows[static_cast<std::size_t>(row)].trainable) {
      io::TensorPart part = tensor_part(table().rows[static_cast<std::size_t>(row)], "/model");
      part.count = group_.rank() == 0 ? static_cast<std::int64_t>(zl_init_.size()) : 0;
      part.data = zl_init_.data();
      parts.push_back(part);
      continue;
    }
    const std::int64_t count = optimizer_.counts()[static_cast<std::size_t>(row)];
    add("/model", row, weights_.data() + written_.first, -1);
    if (config_.train.beta1 > 0) {
      add("/optimizer/exp_avg", row, optimizer_.first_moment().data() + shift, count);
    }
    add("/optimizer/exp_avg_sq", row, optimizer_.second_moment().data() + shift, count);
    if (config_.train.ema > 0) {
      add("/ema", row, optimizer_.average().data() + shift, -1);
    }
  }
  return parts;
}

Learner::Weights Learner::load_average() {
  if (config_.train.ema <= 0) {
    return {weights_.span(), zl_init_};
  }
  if (average_.size() == 0) {
    average_ = Buffer<float>(table().flat_size, MemoryPart::weights);
  }
  std::copy(optimizer_.average().data(), optimizer_.average().data() + owned_.count(), average_.data() + owned_.first);
  gather(average_);
  network_->load(average_.span(), zl_init_);
  return {average_.span(), zl_init_};
}

}  // namespace hrm::train
