#pragma once
// What a communicator, the gradient tree and the gather of buckets promise on any number of ranks: each failing promise
// is one line on standard error and counts in `failures`.
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
#include "comm/shared_array.hpp"

namespace hrm::comm::checks {

inline int failures = 0;

inline void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

inline void check_scalars(Communicator& group) {
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

inline void check_texts(Communicator& group) {
  const std::vector<std::string> all = group.gather(std::string(static_cast<std::size_t>(group.rank() * 5), 'x'));
  const std::string text =
      broadcast_text(group, group.rank() == group.size() - 1 ? "from the last" : "", group.size() - 1);

  expect(std::ssize(all) == group.size(), "gather has one text per rank");
  for (std::size_t r = 0; r < all.size(); ++r) {
    expect(all[r].size() == r * 5, "gather keeps rank order and lengths");
  }
  expect(text == "from the last", "broadcast of a text");
}

/// Three messages of odd lengths and one of none to every rank, itself included, in order.
inline void check_exchange(Communicator& group) {
  const int ranks = group.size();
  const std::array<std::size_t, 3> lengths{11, 0, 17};
  const auto mark = [](int rank, std::size_t message) { return static_cast<std::byte>(16 * rank + message); };
  std::vector<std::vector<std::byte>> out;
  std::vector<std::vector<std::byte>> in;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (std::size_t m = 0; m < lengths.size(); ++m) {
    out.emplace_back(lengths[m], mark(group.rank(), m));
    in.resize(in.size() + static_cast<std::size_t>(ranks), std::vector<std::byte>(lengths[m]));
  }
  for (std::size_t m = 0; m < lengths.size(); ++m) {
    for (int r = 0; r < ranks; ++r) {
      sends.push_back({r, out[m]});
      receives.push_back({r, in[m * static_cast<std::size_t>(ranks) + static_cast<std::size_t>(r)]});
    }
  }

  group.start_exchange(sends, receives);
  group.poll();
  group.finish_exchange();

  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::byte wanted = mark(receives[i].from, i / static_cast<std::size_t>(ranks));
    expect(std::all_of(in[i].begin(), in[i].end(), [&](std::byte x) { return x == wanted; }), "exchange in order");
  }
}

/// Rank r's part has first[r + 1] - first[r] elements; whole numbers, so that the order of the sum does not show.
inline void check_reduce_scatter(Communicator& group, const std::vector<std::int64_t>& first) {
  const int ranks = group.size();
  const auto rank = static_cast<std::size_t>(group.rank());
  std::vector<float> data(static_cast<std::size_t>(first.back()));
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<float>(i) + static_cast<float>(rank);
  }
  std::vector<float> mine(static_cast<std::size_t>(first[rank + 1] - first[rank]), -1.0F);

  group.start_reduce_scatter(data, first, mine);
  group.finish_exchange();

  for (std::size_t i = 0; i < mine.size(); ++i) {
    const auto at = static_cast<float>(first[rank] + static_cast<std::int64_t>(i));
    const float wanted = static_cast<float>(ranks) * at + static_cast<float>(ranks * (ranks - 1) / 2);
    expect(mine[i] == wanted, fmt::format("reduce-scatter on {} ranks", ranks));
  }
}

/// Equal parts, and parts of 5, 0, 5, 0, … elements.
inline void check_reduce_scatters(Communicator& group) {
  std::vector<std::int64_t> equal{0};
  std::vector<std::int64_t> uneven{0};
  for (int r = 0; r < group.size(); ++r) {
    equal.push_back(equal.back() + 7);
    uneven.push_back(uneven.back() + (r % 2 == 0 ? 5 : 0));
  }
  check_reduce_scatter(group, equal);
  check_reduce_scatter(group, uneven);
}

/// The highest rank fails with an input error, and the one below with another: the lower one is what all hear.
inline void check_agreement(Communicator& group) {
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

inline void check_node_group(Communicator& group) {
  const auto node = group.node_group();
  std::vector<double> ones{1.0};

  node->sum(std::span<double>(ones));

  expect(ones[0] == group.size(), "all ranks of one host are one node group");
}

inline void check_shared_array(Communicator& group) {
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

inline float gradient(std::int64_t pack, std::int64_t i) {
  const RandomStream random(3, RandomPurpose::demo, static_cast<std::uint32_t>(pack));
  const auto at = static_cast<std::uint64_t>(i);
  return static_cast<float>(random.uniform(at) * std::exp2(static_cast<double>(random.below(at, 40))) - 1e3);
}

inline float tree_sum(PackRange node, std::int64_t i) {
  if (node.count() == 1) {
    return gradient(node.first, i);
  }
  const auto half = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
  return tree_sum({node.first, node.first + half}, i) + tree_sum({node.first + half, node.last}, i);
}

/// Buckets whose blocks do not divide among the ranks; the last one never has a gradient.
inline std::vector<Bucket> uneven_buckets() {
  std::vector<Bucket> buckets;
  std::int64_t first = 0;
  for (const std::int64_t blocks : {1, 7, 4, 2}) {
    buckets.push_back({0, 0, {first, first + blocks * flat_block}});
    first = buckets.back().range.last;
  }
  return buckets;
}

inline void check_tree(Communicator& group, std::int64_t packs, const ReductionOptions& options) {
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
inline void check_bucket_gather(Communicator& group) {
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

inline void check_grid(Communicator& world) {
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

/// What every communicator promises, whatever it is made of.
inline void check_group(Communicator& group) {
  check_scalars(group);
  check_texts(group);
  check_exchange(group);
  check_reduce_scatters(group);
  check_agreement(group);
  check_node_group(group);
  check_shared_array(group);
}

/// Trees over up to `packs` packs, overlapped and not, and the library's sum.
inline void check_trees(Communicator& overlapped, Communicator& after, std::int64_t packs) {
  for (std::int64_t count = overlapped.size(); count <= packs; ++count) {
    ReductionOptions options;
    options.unit = 2 * flat_block;
    check_tree(overlapped, count, options);
    options.overlap = false;
    check_tree(after, count, options);
    options.deterministic = false;
    check_tree(overlapped, count, options);
  }
}

/// 0 where no rank has seen a failure.
inline int exit_code(Communicator& world) {
  std::array<std::int64_t, 1> worst{failures};
  world.max(worst);
  return worst[0] == 0 ? 0 : 1;
}

}  // namespace hrm::comm::checks
