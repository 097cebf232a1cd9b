#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "broker/sim/workload.h"

using namespace klamm;
using namespace klamm::broker::sim;

namespace {

struct Outcome {
  std::string wrong;
  size_t acknowledged = 0;
  uint64_t trace = 0;
};

// One life of a cluster: a load, and what may happen to nodes, links and disks.
Outcome live(uint64_t seed, int64_t trouble_ms) {
  spdlog::set_level(std::getenv("KLAMM_SIM_LOG") != nullptr ? spdlog::level::debug
                                                            : spdlog::level::off);
  // With a sync before each acknowledgement a power cut loses nothing; without, only processes die.
  const bool power = seed % 2 == 0;
  broker::ConfigMap config = {{"min.insync.replicas", "2"},
                              {"replica.lag.time.max.ms", "3000"},
                              {"leader.imbalance.check.interval.seconds", "5"}};
  if (power) {
    config["log.flush.interval.messages"] = "1";
  }
  SimCluster cluster({.nodes = 3, .seed = seed, .config = config});
  storage::SimRandom chance(seed + 77);
  Workload load(cluster, "t", 3);
  for (int i = 0; i < 600 && !load.create(); ++i) {
    cluster.run(50);
  }
  load.start();
  const int64_t end = cluster.now_ms() + trouble_ms;
  while (cluster.now_ms() < end) {
    cluster.run(static_cast<int64_t>(chance.next() % 400) + 1);
    const size_t node = chance.next() % cluster.size();
    const size_t other = chance.next() % cluster.size();
    switch (chance.next() % 12) {
      case 0:
      case 1:
        if (cluster.is_up(node)) {
          cluster.crash(node, power && chance.next() % 2 == 0);
        }
        break;
      case 2: cluster.cut(node, other); break;
      case 3: cluster.set_loss(chance.next() % 3 * 5); break;
      case 4:
      case 5: cluster.heal(); break;
      default:
        if (!cluster.is_up(node)) {
          cluster.start(node);
        }
    }
  }
  cluster.heal();
  for (size_t i = 0; i < cluster.size(); ++i) {
    if (!cluster.is_up(i)) {
      cluster.start(i);
    }
  }
  load.stop();
  for (int i = 0; i < 240 && !load.is_idle(); ++i) {
    cluster.run(500);
  }
  Outcome outcome;
  outcome.wrong = load.is_idle() ? "" : "not everything was acknowledged after all had healed";
  cluster.run(40'000);  // a request whose answer was lost is given up after 30 s
  if (outcome.wrong.empty()) {
    outcome.wrong = load.check();
  }
  if (!cluster.halts().empty()) {
    outcome.wrong = "a node halted: " + cluster.halts().front();
  }
  if (!outcome.wrong.empty()) {
    outcome.wrong += load.describe();
  }
  outcome.acknowledged = load.acknowledged();
  outcome.trace = cluster.trace();
  return outcome;
}

}  // namespace

TEST_CASE("a cluster that nothing happens to acknowledges everything, and replicas are equal") {
  const Outcome outcome = live(1, 0);
  CHECK(outcome.wrong.empty());
}

TEST_CASE("whatever happens to nodes, links and power, nothing acknowledged is lost or doubled") {
  const char* const given = std::getenv("KLAMM_SIM_SEEDS");  // how many; or one, as =SEED
  uint64_t first = 1;
  uint64_t last = 30;
  if (given != nullptr) {
    const std::string text = given;
    last = std::stoull(text.starts_with('=') ? text.substr(1) : text);
    first = text.starts_with('=') ? last : 1;
  }
  size_t acknowledged = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const Outcome outcome = live(seed, 20'000);
    INFO("seed " << seed << ": " << outcome.wrong);
    CHECK(outcome.wrong.empty());
    acknowledged += outcome.acknowledged;
  }
  CHECK(acknowledged > 100 * (last - first + 1));
}

TEST_CASE("the same seed gives the same trace") {
  CHECK(live(4, 8'000).trace == live(4, 8'000).trace);
  CHECK(live(4, 8'000).trace != live(6, 8'000).trace);
}
