#include "app/rank_map.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "app/rank_text.hpp"
#include "app/threads.hpp"

namespace hrm::app {
namespace {

using Places = std::vector<RankPlace>;
using Lines = std::vector<std::string>;

RankPlace place(const std::string& host, const std::string& cores, int threads) {
  return {host, cores, threads, static_cast<int>(cores.size()), 0, std::nullopt, 0};
}

/// `nodes` nodes n0, n1 … with two ranks each, bound to a half of four cores.
Places two_a_node(int nodes) {
  Places ranks;
  for (int node = 0; node < nodes; ++node) {
    ranks.push_back(place(fmt::format("n{}", node), "1100", 2));
    ranks.push_back(place(fmt::format("n{}", node), "0011", 2));
  }
  return ranks;
}

Places with_devices(Places ranks, const Lines& names, int of_node) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    ranks[rank].devices = names[rank];
    ranks[rank].node_devices = of_node;
  }
  return ranks;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(RankMap, NodesThatDifferInNothingShareALine) {
  EXPECT_EQ(map_lines(two_a_node(3)), Lines{"3 nodes n0 .. n2: ranks 0-5, 2 a node, cores 0-3 (2 bound to each), 2 "
                                            "thread(s) each"});
}

TEST(RankMap, AnotherNodeGetsALineOfItsOwn) {
  Places ranks = two_a_node(2);
  ranks.push_back(place("big", "11111011", 7));

  EXPECT_EQ(map_lines(ranks), (Lines{"2 nodes n0 .. n1: ranks 0-3, 2 a node, cores 0-3 (2 bound to each), 2 thread(s) "
                                     "each",
                                     "node big: ranks 4, cores 0-4,6-7, 7 thread(s) each"}));
}

TEST(RankMap, RanksThatAreDealtOutInTurnAreListed) {
  const Places ranks{place("a", "11", 1), place("b", "11", 1), place("a", "11", 1), place("b", "11", 1)};

  EXPECT_EQ(map_lines(ranks), (Lines{"node a: ranks 0,2, cores 0-1, 1 thread(s) each",
                                     "node b: ranks 1,3, cores 0-1, 1 thread(s) each"}));
}

TEST(RankMap, ThreadsThatDifferAreAddedUp) {
  const Places ranks{place("a", "1111", 1), place("a", "1111", 3)};

  EXPECT_EQ(map_lines(ranks), Lines{"node a: ranks 0-1, cores 0-3, 4 threads in all"});
}

TEST(RankWarnings, NoneForAFullAllocationInGoodOrder) {
  Places ranks = two_a_node(4);
  ranks = with_devices(ranks, Lines(8, "0,1"), 2);

  EXPECT_EQ(warnings(ranks, 2), Lines{});
}

TEST(RankWarnings, MoreThreadsThanCoresNameTheFirstNodeOnce) {
  Places ranks = two_a_node(3);
  ranks[2].threads = 3;
  ranks[5].threads = 4;

  const Lines texts = warnings(ranks, 1);

  ASSERT_EQ(texts.size(), 1U);
  EXPECT_TRUE(holds(texts[0], "5 threads of 2 rank(s) share 4 cores of node n1 (and 1 more)")) << texts[0];
}

TEST(RankWarnings, ARankBoundToFewerCoresThanTheBatchSystemGaveIsNamed) {
  Places ranks = two_a_node(2);
  for (RankPlace& rank : ranks) {
    rank.task_cores = 2;
  }
  ranks[3].cores = "0001";
  ranks[3].threads = 1;

  const Lines texts = warnings(ranks, 1);

  ASSERT_EQ(texts.size(), 1U);
  EXPECT_TRUE(holds(texts[0], "rank 3 on node n1 is bound to 1 of the 2 cores")) << texts[0];
}

TEST(RankWarnings, WithoutThatNumberTheNodeCounts) {
  const Places ranks{place("a", "1000", 1), place("a", "0100", 1)};

  const Lines texts = warnings(ranks, 1);

  ASSERT_EQ(texts.size(), 1U);
  EXPECT_TRUE(holds(texts[0], "the 2 rank(s) of node a are bound to 2 of its 4 cores")) << texts[0];
}

TEST(RankWarnings, FewThreadsAreNoMistakeOfTheBinding) {
  const Places ranks{place("a", "1100", 1)};

  EXPECT_EQ(warnings(ranks, 1), Lines{});
}

TEST(RankWarnings, TensorGroupsThatCrossNodes) {
  const Lines whole = warnings(two_a_node(4), 2);
  const Lines halves = warnings(two_a_node(4), 4);

  EXPECT_EQ(whole, Lines{});
  ASSERT_EQ(halves.size(), 1U);
  EXPECT_TRUE(holds(halves[0], "ranks 0-3 lies on 2 nodes (and 1 more)")) << halves[0];
}

TEST(RankWarnings, FewerDevicesThanRanks) {
  const Lines texts = warnings(with_devices(two_a_node(1), {"3", "3"}, 0), 1);

  ASSERT_EQ(texts.size(), 1U);
  EXPECT_TRUE(holds(texts[0], "the 2 rank(s) of node n0 see 1 device(s)")) << texts[0];
}

TEST(RankWarnings, NoDeviceAtAllIsFewer) {
  EXPECT_EQ(warnings(with_devices(two_a_node(1), {"", ""}, 0), 1).size(), 1U);
}

TEST(RankWarnings, OneDeviceOfItsOwnForEachRankIsEnough) {
  EXPECT_EQ(warnings(with_devices(two_a_node(1), {"0", "1"}, 0), 1), Lines{});
  EXPECT_EQ(warnings(with_devices(two_a_node(1), {"0", "0"}, 2), 1), Lines{});  // each is number 0 of its own rank
}

TEST(RankPlaceText, ComesBackAsItWas) {
  RankPlace before{"host-1", "0110", 3, 8, 4, "GPU-a,GPU-b", 2};
  for (const auto& devices : {before.devices, std::optional<std::string>(""), std::optional<std::string>()}) {
    before.devices = devices;
    const RankPlace after = place_from_text(to_text(before));

    EXPECT_EQ(after.host, before.host);
    EXPECT_EQ(after.cores, before.cores);
    EXPECT_EQ(after.threads, before.threads);
    EXPECT_EQ(after.node_cores, before.node_cores);
    EXPECT_EQ(after.task_cores, before.task_cores);
    EXPECT_EQ(after.devices, before.devices);
    EXPECT_EQ(after.node_devices, before.node_devices);
  }
}

TEST(OwnPlace, IsThisProcess) {
  ::setenv("SLURM_CPUS_PER_TASK", "5", 1);
  const RankPlace own = own_place(DeviceType::cpu);
  ::unsetenv("SLURM_CPUS_PER_TASK");

  EXPECT_FALSE(own.host.empty());
  EXPECT_EQ(own.cores, own_cores());
  EXPECT_EQ(own.task_cores, 5);
  EXPECT_FALSE(own.devices.has_value());
}

TEST(OwnPlace, SeesTheDevicesThatTheEnvironmentNames) {
  ::setenv("SLURM_GPUS_ON_NODE", "3", 1);
  const RankPlace counted = own_place(DeviceType::cuda);
  ::setenv("CUDA_VISIBLE_DEVICES", "2", 1);
  const RankPlace named = own_place(DeviceType::cuda);
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  ::unsetenv("SLURM_GPUS_ON_NODE");

  EXPECT_EQ(counted.devices, "0,1,2");
  EXPECT_EQ(named.devices, "2");
  EXPECT_EQ(named.node_devices, 3);
}

TEST(CheckSameProgram, OneRankIsTheSameAsItself) {
  const auto world = comm::serial_communicator();

  EXPECT_NO_THROW(check_same_program(*world, program_text()));
}

}  // namespace
}  // namespace hrm::app
