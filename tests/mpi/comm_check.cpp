// Run under mpirun with any number of ranks: what the communicator and the gradient tree promise. Exit 0 if all hold;
// each failing promise is one line on standard error.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>

#include "base/error.hpp"
#include "base/parameter.hpp"
#include "base/random.hpp"
#include "comm/bucket_gather.hpp"
#include "comm/gradient_tree.hpp"
#include "comm/grid.hpp"
#include "comm/mpi_communicator.hpp"
#include "comm/mpi_session.hpp"
#include "comm/shared_array.hpp"

namespace {

using namespace hrm;
using namespace hrm::comm;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

void check_scalars(Communicator& group) {
  const int ranks = group.size();
  std::vector<double> ones(7, 1.0);
  std::array<std::uint64_t, 1> large{std::uint64_t{1} << 60};
  std::array<std::int64_t, 2> ranks_and_minus{group.rank(), -group.rank()};

  group.barrier();
  group.sum(std::span<double>(ones));
  group.sum(std::span<std::uint64_t>(large));
  group.max(ranks_and_minus);

  expect(std::all_of(ones.begin(), ones.end(), [&](double x) { return x == ranks; }), "sum of doubles");
  expect(large[0] == (std::uint64_t{1} << 60) * static_cast<std::uint64_t>(ranks), "sum of 64-bit integers");
  expect(ranks_and_minus[0] == ranks - 1 && ranks_and_minus[1] == 0, "maximum");
}

void check_texts(Communicator& group) {
  const std::vector<std::string> all = group.gather(std::string(static_cast<std::size_t>(group.rank() * 5), 'x'));
  const std::string text =
      broadcast_text(group, group.rank() == group.size() - 1 ? "from the last" : "", group.size() - 1);

  expect(std::ssize(all) == group.size(), "gather has one text per rank");
  for (std::size_t r = 0; r < all.size(); ++r) {
    expect(all[r].size() == r * 5, "gather keeps rank order and lengths");
  }
  expect(text == "from the last", "broadcast of a text");
}

/// Two messages of different length to every rank, itself included, in order.
void check_exchange(Communicator& group) {
  const int ranks = group.size();
  std::vector<std::vector<float>> out(2);
  std::vector<Send> sends;
  std::vector<std::vector<float>> in(static_cast<std::size_t>(2 * ranks));
  std::vector<Receive> receives;
  for (std::size_t m = 0; m < 2; ++m) {
    out[m].assign(11 + 6 * m, static_cast<float>(10 * group.rank()) + static_cast<float>(m));
  }
  for (int r = 0; r < ranks; ++r) {
    for (std::size_t m = 0; m < 2; ++m) {
      sends.push_back({r, std::as_bytes(std::span(out[m]))});
      std::vector<float>& space = in[static_cast<std::size_t>(2 * r) + m];
      space.resize(out[m].size());
      receives.push_back({r, std::as_writable_bytes(std::span(space))});
    }
  }

  group.start_exchange(sends, receives);
  group.poll();
  group.finish_exchange();

  for (int r = 0; r < ranks; ++r) {
    for (std::size_t m = 0; m < 2; ++m) {
      const std::vector<float>& got = in[static_cast<std::size_t>(2 * r) + m];
      const float wanted = static_cast<float>(10 * r) + static_cast<float>(m);
      expect(std::all_of(got.begin(), got.end(), [&](float x) { return x == wanted; }), "exchange in order");
    }
  }
}

void check_all_gather(Communicator& group) {
  std::vector<std::int64_t> first{0};
  for (int r = 0; r < group.size(); ++r) {
    first.push_back(first.back() + 13 * (r % 2 == 1 ? 0 : r + 1));
  }
  std::vector<float> data(static_cast<std::size_t>(first.back()), -1.0F);
  const auto rank = static_cast<std::size_t>(group.rank());
  for (std::int64_t i = first[rank]; i < first[rank + 1]; ++i) {
    data[static_cast<std::size_t>(i)] = static_cast<float>(i);
  }

  for (std::int64_t& border : first) {
    border *= static_cast<std::int64_t>(sizeof(float));
  }
  group.all_gather(std::as_writable_bytes(std::span(data)), first);

  for (std::size_t i = 0; i < data.size(); ++i) {
    expect(data[i] == static_cast<float>(i), "all_gather with empty parts");
  }
}

/// The highest rank fails with an input error, and the one below with another: the lower one is what all hear.
void check_agreement(Communicator& group) {
  const int ranks = group.size();
  const int culprit = std::max(0, ranks - 2);
  std::string message;
  ExitCode code = ExitCode::ok;

  try {
    together(group, [&] {
      together(group, [&] {
        if (group.rank() >= culprit) {
          fail(group.rank() == culprit ? ExitCode::bad_data : ExitCode::io_error, "file {}", group.rank());
        }
      });
    });
  } catch (const InputError& error) {
    message = error.what();
    code = error.code();
  }

  const std::string wanted = ranks > 1 ? fmt::format("rank {0}: file {0}", culprit) : "file 0";
  expect(message == wanted, fmt::format("agreement on \"{}\", not \"{}\"", wanted, message));
  expect(code == ExitCode::bad_data, "agreement on the exit code");

  bool internal = false;
  try {
    together(group, [&] { ensure(group.rank() != 0, "bug"); });
  } catch (const InternalError&) {
    internal = true;
  }
  expect(internal, "a bug of one rank is a bug of all");
}

void check_node_group(Communicator& group) {
  const auto node = group.node_group();
  std::vector<double> ones{1.0};

  node->sum(std::span<double>(ones));

  expect(ones[0] == group.size(), "all ranks of one host are one node group");
}

void check_shared_array(Communicator& group) {
  const auto node = group.node_group();
  SharedArray<std::uint32_t> array(*node, 1000);
  const bool zero = std::all_of(array.values().begin(), array.values().end(), [](auto x) { return x == 0; });
  array.publish();

  if (node->rank() == 0) {
    std::fill(array.writable().begin(), array.writable().end(), 7U);
  }
  array.publish();

  const auto values = array.values();
  expect(zero, "a shared array begins with zeros");
  expect(std::all_of(values.begin(), values.end(), [](auto x) { return x == 7; }), "all ranks see a shared array");
}

float gradient(std::int64_t pack, std::int64_t i) {
  const RandomStream random(3, RandomPurpose::demo, static_cast<std::uint32_t>(pack));
  const auto at = static_cast<std::uint64_t>(i);
  return static_cast<float>(random.uniform(at) * std::exp2(static_cast<double>(random.below(at, 40))) - 1e3);
}

float tree_sum(PackRange node, std::int64_t i) {
  if (node.count() == 1) {
    return gradient(node.first, i);
  }
  const auto half = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
  return tree_sum({node.first, node.first + half}, i) + tree_sum({node.first + half, node.last}, i);
}

/// Buckets whose blocks do not divide among the ranks; the last one never has a gradient.
std::vector<Bucket> uneven_buckets() {
  std::vector<Bucket> buckets;
  std::int64_t first = 0;
  for (const std::int64_t blocks : {1, 7, 4, 2}) {
    buckets.push_back({0, 0, {first, first + blocks * flat_block}});
    first = buckets.back().range.last;
  }
  return buckets;
}

void check_tree(Communicator& group, std::int64_t packs, const ReductionOptions& options) {
  const std::vector<Bucket> buckets = uneven_buckets();
  const FlatShards owners(buckets, group.rank(), group.size());
  GradientTree tree(group, packs, owners, options);
  for (int step = 0; step < 2; ++step) {
    tree.start();
    for (std::int64_t pack = tree.share().first; pack < tree.share().last; ++pack) {
      const std::span<float> current = tree.current();
      for (const int bucket : {1, 2, 0}) {
        const FlatRange range = buckets[static_cast<std::size_t>(bucket)].range;
        for (std::int64_t i = range.first; i < range.last; ++i) {
          current[static_cast<std::size_t>(i)] += i % 509 == 0 ? gradient(pack, i) : 0.0F;
        }
        tree.finished(bucket);
        tree.poll();
      }
      tree.pack_done();
    }
    tree.reduce();
    for (const FlatRange& range : owners.own_ranges()) {
      for (std::int64_t i = (range.first + 508) / 509 * 509; i < range.last; i += 509) {
        const float got = tree.result()[static_cast<std::size_t>(i)];
        const float wanted = i < buckets.back().range.first ? tree_sum({0, packs}, i) : 0.0F;
        const float most = options.deterministic ? 0.0F : 1e7F;  // of sums of 2^40
        if (!(std::abs(got - wanted) <= most)) {
          expect(false, fmt::format("tree of {} packs on {} ranks, element {}: {} is not {}", packs, group.size(), i,
                                    got, wanted));
          return;
        }
      }
    }
  }
}

/// Every rank sees every share, whatever the unit.
void check_bucket_gather(Communicator& group) {
  const std::vector<Bucket> buckets = uneven_buckets();
  const FlatShards owners(buckets, group.rank(), group.size());
  BucketGather gather(group, owners, sizeof(float), flat_block);
  for (int bucket = 0; bucket < owners.buckets(); ++bucket) {
    const FlatRange range = buckets[static_cast<std::size_t>(bucket)].range;
    std::vector<float> values(static_cast<std::size_t>(range.count()), -1.0F);
    for (std::int64_t i = owners.own(bucket).first; i < owners.own(bucket).last; ++i) {
      values[static_cast<std::size_t>(i - range.first)] = static_cast<float>(i);
    }

    gather.start(bucket, std::as_writable_bytes(std::span(values)));
    gather.poll();
    gather.finish();

    bool all = true;
    for (std::int64_t i = range.first; i < range.last; ++i) {
      all = all && values[static_cast<std::size_t>(i - range.first)] == static_cast<float>(i);
    }
    expect(all, fmt::format("bucket {} gathered from {} ranks", bucket, group.size()));
  }
}

void check_grid(Communicator& world) {
  for (int tensor = 1; tensor <= world.size(); ++tensor) {
    if (world.size() % tensor != 0) {
      continue;
    }
    const Grid grid = make_grid(world, tensor);
    expect(grid.tensor->size() == tensor && grid.data->size() == world.size() / tensor, "sizes of a grid");
    expect(grid.data->rank() * tensor + grid.tensor->rank() == world.rank(), "tensor groups lie side by side");
  }
  bool refused = false;
  try {
    make_grid(world, world.size() + 1);
  } catch (const InputError& error) {
    refused = error.code() == ExitCode::bad_config;
  }
  expect(refused, "a tensor size that does not divide is a wrong configuration");
}

void check_group(Communicator& group) {
  check_scalars(group);
  check_texts(group);
  check_exchange(group);
  check_all_gather(group);
  check_agreement(group);
  check_node_group(group);
  check_shared_array(group);
}

}  // namespace

int main() {
  MpiSession session;
  check_group(session.world());
  // Messages cut into parts of 5 elements behave like whole ones.
  const auto cut = mpi_communicator(session.world().native(), 5);
  check_group(*cut);
  const auto cut_blocks = mpi_communicator(session.world().native(), 5000);
  for (std::int64_t packs = 1; packs <= 13; ++packs) {
    if (packs < session.world().size()) {
      continue;
    }
    ReductionOptions options;
    options.unit = 2 * flat_block;
    check_tree(session.world(), packs, options);
    options.overlap = false;
    check_tree(*cut_blocks, packs, options);
    options.deterministic = false;
    check_tree(session.world(), packs, options);
  }
  check_bucket_gather(session.world());
  check_grid(session.world());
  std::array<std::int64_t, 1> worst{failures};
  session.world().max(worst);
  return worst[0] == 0 ? 0 : 1;
}
