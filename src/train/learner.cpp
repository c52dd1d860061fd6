#include "train/learner.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/timer.hpp"
#include "comm/use_device.hpp"
#include "kernels/digest.hpp"
#include "kernels/elementwise.hpp"
#include "model/parameters.hpp"

namespace hrm::train {
namespace {

constexpr std::size_t vote_count = 3;
constexpr std::size_t section_count = 5;
constexpr std::size_t lead = vote_count + section_count;  // of the scalars, before the sums per pack
constexpr std::size_t sums_per_pack = 5;

comm::FlatShards owners(const comm::Communicator& data, const ParameterTable& table, bool shared) {
  return shared ? comm::FlatShards(table.buckets, data.rank(), data.size()) : comm::FlatShards(table.buckets, 0, 1);
}

std::int64_t flat_blocks(const ParameterTable& table) {
  return table.flat_size / flat_block;
}

model::TensorParallel tensor_parallel(comm::Grid& grid, const config::ParallelConfig& config) {
  return {grid.place().size > 1 ? grid.tensor.get() : nullptr, config.sequence};
}

comm::ReductionOptions reduction(const config::RunConfig& config) {
  comm::ReductionOptions options;
  options.overlap = config.parallel.overlap;
  options.deterministic = config.train.deterministic;
  return options;
}

/// Every eighth number on its own and then these sums: a fixed order whose additions need not wait for each other, for
/// a device stands still meanwhile.
double sum_in_order(std::span<const double> numbers) {
  std::array<double, 8> sums{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    sums[i % sums.size()] += numbers[i];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

/// Where a pack's gradient goes: the tree's current buffer. A bucket is finished when all its rows are.
class Learner::Sink final : public model::GradientSink {
 public:
  explicit Sink(Learner& learner) : learner_(learner), flat_(learner.tree_.current()) {
    learner.rows_left_.clear();
    for (const Bucket& bucket : learner.table().buckets) {
      learner.rows_left_.push_back(bucket.last_row - bucket.first_row);
    }
  }
  std::span<float> flat() override { return flat_; }
  void done(int row) override {
    const int bucket = learner_.table().bucket_of(row);
    if (--learner_.rows_left_[static_cast<std::size_t>(bucket)] == 0) {
      learner_.tree_.finished(bucket);
    }
  }
  void poll() override { learner_.tree_.poll(); }

 private:
  Learner& learner_;
  std::span<float> flat_;
};

Learner::Learner(comm::Grid& grid, const config::RunConfig& config, Precision precision)
    : grid_(grid),
      config_(config),
      network_(model::Network::make(config.model, precision, config.train.pack_tokens, model::Purpose::training,
                                    config.train.recompute, tensor_parallel(grid, config.parallel), *grid.device)),
      owned_(owners(*grid.data, table(), config.parallel.zero > 0)),
      written_(table().buckets, grid.data->rank(), grid.data->size()),
      weights_(owned_.size(), MemoryPart::weights, grid.device->memory()),
      optimizer_(table(), owned_.own_ranges(), config.train, *grid.device),
      tree_(*grid.data, config.train.packs, written_, reduction(config), *grid.device),
      gather_gradient_(*grid.data,
                       config.parallel.zero > 0 ? comm::FlatShards({}, grid.data->rank(), grid.data->size()) : written_,
                       sizeof(float)),
      gather_(*grid.data, table(), owned_, network_->bucket_order(), precision, *grid.device),
      pack_sums_(tree_.share().count(), MemoryPart::data, grid.device->staging()),
      square_sums_(written_.size() / flat_block, MemoryPart::workspace, grid.device->memory()),
      host_square_sums_(square_sums_.size(), MemoryPart::workspace, grid.device->staging()),
      digest_scratch_(grid.device->is_host() ? 0 : kernels::digest_scratch + 1, MemoryPart::workspace,
                      grid.device->memory()),
      exceptions_at_start_(std::uncaught_exceptions()) {
  if (const Parameter* row = table().find("zL_init")) {
    zl_init_.resize(static_cast<std::size_t>(row->count()));
  }
  scalars_.resize(lead + sums_per_pack * static_cast<std::size_t>(config.train.packs) +
                  static_cast<std::size_t>(flat_blocks(table()) * grid.place().size));
  rows_left_.reserve(table().buckets.size());
  network_->set_feed(&gather_);
  packs_end_ = device().make_event();
  product_choices_ = comm::share_product_choices(grid);
}

Learner::~Learner() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    return;
  }
  try {
    gather_.finish();
  } catch (const std::exception& error) {
    log::warn("weights on their way were lost: {}", error.what());
  }
}

void Learner::use_product_choices(const std::string& choices) {
  if (!choices.empty() && !device().is_host()) {
    comm::adopt_product_choices(choices);
    product_choices_ = comm::share_product_choices(grid_);  // with the shapes that the checkpoint did not know
  }
}

void Learner::loaded() {
  network_->load_constant(zl_init_);
  load_masters();
}

/// Of bytes in memory of the device, as of a file's words.
std::uint64_t Learner::digest_of(std::span<const std::byte> values) {
  if (device().is_host()) {
    return digest_file_words(values.data(), values.size(), 0);
  }
  const std::size_t words = values.size() / sizeof(std::uint64_t);
  const std::span<const std::byte> rest = values.subspan(words * sizeof(std::uint64_t));
  const std::span<std::uint64_t> scratch = digest_scratch_.span(0, kernels::digest_scratch);
  std::uint64_t* sum = scratch.data() + scratch.size();
  kernels::digest_values<std::uint64_t>(
      device().compute(), {reinterpret_cast<const std::uint64_t*>(values.data()), words}, 0, scratch, sum);
  std::uint64_t total = 0;
  std::array<std::byte, sizeof(std::uint64_t)> last{};
  device().copy(device().compute(), &total, sum, sizeof(total));
  device().copy(device().compute(), last.data(), rest.data(), rest.size());
  device().wait(device().compute());
  return total + digest_file_words(last.data(), rest.size(), words);
}

std::vector<std::uint64_t> Learner::reload() {
  std::vector<std::uint64_t> digests(table().buckets.size());
  network_->load_constant(zl_init_);
  gather_.finish();
  gather_.start(weights_.span(), [&](int bucket, std::span<const std::byte> values) {
    digests[static_cast<std::size_t>(bucket)] = digest_of(values);
    network_->load_bucket(bucket, values);
  });
  gather_.finish();
  digests.push_back(digest(std::span<const float>(zl_init_)));
  return digests;
}

std::vector<std::uint64_t> Learner::memory_digests() {
  gather_.finish();
  std::vector<std::uint64_t> digests;
  for (int bucket = 0; bucket <= static_cast<int>(table().buckets.size()); ++bucket) {
    std::uint64_t sum = 0;
    for (const std::span<const std::byte> values : network_->weight_memory(bucket)) {
      sum = sum * 31 + digest_of(values);
    }
    digests.push_back(sum);
  }
  return digests;
}

void Learner::begin_step() {
  tree_.start();
  packs_done_ = 0;
  gather_.take_waited();  // between steps: no part of the packs' time
  gather_.poll();
}

void Learner::accumulate(const model::PackView& pack, model::Horizon horizon, double divisor) {
  Sink sink(*this);
  network_->forward_backward(pack, horizon, divisor, sink, pack_sums_[packs_done_++]);
  tree_.pack_done();
}

/// Where the packs' time went; what their forward passes waited for weights is communication.
void Learner::take_seconds() {
  const model::PackSeconds packs = network_->take_seconds();
  const double waited = gather_.take_waited();
  seconds_.communication += waited + packs.communication;
  seconds_.forward += packs.forward - waited;
  seconds_.backward += packs.backward;
}

/// Square sums of the flat blocks that this rank sums; blocks are never cut, so every one is made whole on one rank.
void Learner::start_square_sums() {
  std::int64_t done = 0;
  for (const FlatRange& range : written_.own_ranges()) {
    const std::int64_t count = range.count() / flat_block;
    kernels::block_square_sums(
        device().compute(),
        tree_.result().subspan(static_cast<std::size_t>(range.first), static_cast<std::size_t>(range.count())),
        flat_block, square_sums_.span(done, count));
    done += count;
  }
  device().copy(device().compute(), host_square_sums_.data(), square_sums_.data(), square_sums_.bytes());
}

void Learner::add_square_sums() {
  const auto blocks = std::span(scalars_).subspan(lead + sums_per_pack * static_cast<std::size_t>(config_.train.packs) +
                                                  static_cast<std::size_t>(grid_.place().rank * flat_blocks(table())));
  const double* sums = host_square_sums_.data();
  for (const FlatRange& range : written_.own_ranges()) {
    const std::int64_t count = range.count() / flat_block;
    std::copy_n(sums, count, blocks.begin() + range.first / flat_block);
    sums += count;
  }
}

void Learner::share_scalars(StepResult& result, const Votes& votes) {
  std::fill(scalars_.begin(), scalars_.end(), 0.0);
  scalars_[0] = votes.stop;
  scalars_[1] = votes.save;
  scalars_[2] = votes.written;
  const std::array<double, section_count> mine{seconds_.data, seconds_.forward, seconds_.backward,
                                               seconds_.communication, seconds_.optimizer};
  std::copy(mine.begin(), mine.end(), scalars_.begin() + vote_count);
  seconds_ = {};
  double* slot = scalars_.data() + lead + sums_per_pack * static_cast<std::size_t>(tree_.share().first);
  if (grid_.place().rank == 0) {
    for (const model::PackSums& pack : pack_sums_.span(0, packs_done_)) {
      *slot++ = pack.loss_sum;
      *slot++ = static_cast<double>(pack.tokens);
      *slot++ = static_cast<double>(pack.correct);
      *slot++ = static_cast<double>(pack.exact);
      *slot++ = static_cast<double>(pack.sequences);
    }
  }
  add_square_sums();
  const Timer timer;
  grid_.world->sum(std::span<double>(scalars_));
  seconds_.communication += timer.seconds();
  result.votes = {scalars_[0], scalars_[1], scalars_[2]};
  const double* sections = scalars_.data() + vote_count;
  const double ranks = grid_.world->size();
  result.seconds = {sections[0] / ranks, sections[1] / ranks, sections[2] / ranks, sections[3] / ranks,
                    sections[4] / ranks};
  const double* pack = scalars_.data() + lead;
  for (std::int64_t i = 0; i < config_.train.packs; ++i, pack += sums_per_pack) {
    result.sums.loss_sum += pack[0];
    result.sums.tokens += static_cast<std::int64_t>(pack[1]);
    result.sums.correct += static_cast<std::int64_t>(pack[2]);
    result.sums.exact += static_cast<std::int64_t>(pack[3]);
    result.sums.sequences += static_cast<std::int64_t>(pack[4]);
  }
  const double squares = sum_in_order({pack, static_cast<std::size_t>(scalars_.data() + scalars_.size() - pack)});
  result.gradient_norm = std::sqrt(squares);
  result.finite = std::isfinite(result.sums.loss_sum) && std::isfinite(squares);
}

/// Every rank gets every rank's part of the reduced gradient (zero = 0).
void Learner::gather_gradient() {
  const Timer timer;
  for (int bucket = 0; bucket < written_.buckets(); ++bucket) {
    const FlatRange range = table().buckets[static_cast<std::size_t>(bucket)].range;
    gather_gradient_.start(bucket,
                           std::as_writable_bytes(tree_.result().subspan(static_cast<std::size_t>(range.first),
                                                                         static_cast<std::size_t>(range.count()))));
    gather_gradient_.finish();
  }
  seconds_.communication += timer.seconds();
}

StepResult Learner::finish_step(model::Horizon horizon, double learning_rate, const Votes& votes,
                                const Accept& accept) {
  StepResult result;
  const DeviceRange range(device(), "reduction and update");
  device().record(packs_end_, device().compute());
  const double reducing = tree_.reduce();
  start_square_sums();
  network_->finish_exchanges();
  device().wait(device().compute());  // the only wait of a step
  // A device is still at its packs when the host is done with them: its own clock tells what was exposed.
  seconds_.communication +=
      device().is_host() ? reducing : std::max(0.0, device().seconds(packs_end_, tree_.reduced()));
  take_seconds();
  share_scalars(result, votes);
  result.updated = result.finite && (!accept || accept(result));
  if (result.updated) {
    if (config_.parallel.zero == 0) {
      gather_gradient();
    }
    const Timer timer;
    mirrored_ = false;
    optimizer_.update(weights_.span(), tree_.result(), learning_rate,
                      [&](int row) { return network_->has_gradient(row, horizon); });
    send_masters();
    if (!config_.parallel.overlap) {
      gather_.finish();
    }
    const double waited = gather_.take_waited();
    seconds_.communication += waited;
    seconds_.optimizer += timer.seconds() - waited;
  }
  return result;
}

model::Network& Learner::network() {
  gather_.finish();
  return *network_;
}

void Learner::send_masters() {
  gather_.start(weights_.span(), [this](int bucket, auto values) { network_->load_bucket(bucket, values); });
}

void Learner::load_masters() {
  gather_.finish();
  send_masters();
  gather_.finish();
}

void Learner::load_average() {
  send_average([this](int bucket, auto values) { network_->load_bucket(bucket, values); });
}

void Learner::send_average(const WeightGather::Load& load) {
  gather_.finish();
  gather_.start(config_.train.ema > 0 ? optimizer_.average().span() : weights_.span(), load);
  gather_.finish();
}

}  // namespace hrm::train
