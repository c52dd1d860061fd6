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
#include "comm/gradient_tree.hpp"
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
      sends.push_back({r, out[m]});
      std::vector<float>& space = in[static_cast<std::size_t>(2 * r) + m];
      space.resize(out[m].size());
      receives.push_back({r, space});
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

  group.all_gather(data, first);

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

void check_tree(Communicator& group, std::int64_t packs, bool shared) {
  // Blocks that do not divide among the ranks, and rounds of one block.
  const std::int64_t size = 6 * flat_block + 192;
  GradientTree tree(group, packs, size, shared, flat_block);
  std::vector<float> result(static_cast<std::size_t>(shared ? tree.own().count() : size));

  for (std::int64_t pack = tree.share().first; pack < tree.share().last; ++pack) {
    const std::span<float> current = tree.current();
    for (std::int64_t i = 0; i < size; i += 61) {
      current[static_cast<std::size_t>(i)] = gradient(pack, i);
    }
    tree.pack_done();
  }
  tree.reduce(result);

  const std::int64_t first = shared ? tree.own().first : 0;
  for (std::int64_t i = (first + 60) / 61 * 61; i < first + std::ssize(result); i += 61) {
    const float got = result[static_cast<std::size_t>(i - first)];
    const float wanted = tree_sum({0, packs}, i);
    if (std::bit_cast<std::uint32_t>(got) != std::bit_cast<std::uint32_t>(wanted)) {
      expect(false, fmt::format("tree of {} packs on {} ranks, element {}", packs, group.size(), i));
      return;
    }
  }
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
  for (std::int64_t packs = 1; packs <= 13; ++packs) {
    check_tree(session.world(), packs, true);
    check_tree(session.world(), packs, false);
  }
  std::array<std::int64_t, 1> worst{failures};
  session.world().max(worst);
  return worst[0] == 0 ? 0 : 1;
}
