#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "broker/sim/members.h"
#include "broker/sim/onlooker.h"
#include "broker/sim/passing.h"
#include "broker/sim/sharers.h"
#include "broker/sim/transactors.h"
#include "broker/sim/workload.h"

using namespace klamm;
using namespace klamm::broker::sim;

namespace {

constexpr const char* kAbortCheck = "transaction.abort.timed.out.transaction.cleanup.interval.ms";

struct Outcome {
  std::string wrong;
  size_t acknowledged = 0;
  size_t read = 0;
  size_t commits = 0;
  size_t transactions = 0;  // committed
  size_t shared = 0;        // records that a share group has acknowledged
  size_t consumer_commits = 0;
  size_t streams_commits = 0;
  size_t passed = 0;  // topics that were deleted
  uint64_t trace = 0;
};

// One life of a cluster: a load, and what may happen to nodes, links, disks and clocks.
class Life {
 public:
  explicit Life(uint64_t seed)
      : power_(seed % 2 == 0),
        cluster_({.nodes = 3 + seed % 3, .seed = seed, .config = config()}),
        chance_(seed + 77),
        load_(cluster_, "t", 3),
        readers_(cluster_, "t", 3),
        transactors_(cluster_, 3, 6),
        sharers_(cluster_, "x", 6, 2),
        consumers_(cluster_, consumer_membership(), "x", 6, 4),
        streams_(cluster_, streams_membership(), "x", 6, 3),
        passing_(cluster_, "p", 3),
        onlooker_(cluster_, power_) {}

  Outcome live(int64_t trouble_ms) {
    for (int i = 0; i < 600 && !(load_.create() && transactors_.create() && sharers_.create());
         ++i) {
      cluster_.run(50);
    }
    onlooker_.start();
    load_.start();
    readers_.start(load_.topic_id());
    transactors_.start();
    sharers_.start(transactors_.topic_id());
    consumers_.start(transactors_.topic_id());
    streams_.start(transactors_.topic_id());
    passing_.start();
    const int64_t end = cluster_.now_ms() + trouble_ms;
    while (cluster_.now_ms() < end) {
      cluster_.run(static_cast<int64_t>(chance_.next() % 400) + 1);
      load_.watch();
      trouble();
    }
    load_.stop();
    readers_.stop();
    transactors_.stop();
    end_passing();
    for (int i = 0; i < 240 && !is_idle(); ++i) {
      restore();  // again and again: a node may be about to stop
      cluster_.run(500);
    }
    Outcome outcome;
    outcome.wrong = is_idle() ? "" : "not everything was acknowledged after all had healed";
    cluster_.run(40'000);  // a request whose answer was lost is given up after 30 s
    if (outcome.wrong.empty()) {
      outcome.wrong = check();
    }
    if (!onlooker_.wrong().empty()) {
      outcome.wrong = onlooker_.wrong();
    }
    if (!cluster_.halts().empty()) {
      outcome.wrong = "a node halted: " + cluster_.halts().front();
    }
    if (!outcome.wrong.empty()) {
      outcome.wrong += load_.describe() + transactors_.describe();
    }
    outcome.acknowledged = load_.acknowledged();
    outcome.read = readers_.records_read();
    outcome.commits = readers_.commits();
    outcome.transactions = transactors_.committed();
    outcome.shared = sharers_.acknowledged();
    outcome.consumer_commits = consumers_.commits();
    outcome.streams_commits = streams_.commits();
    outcome.passed = passing_.deleted();
    outcome.trace = cluster_.trace();
    return outcome;
  }

 private:
  static std::string session() { return std::to_string(Members::kSessionMs); }
  // With a sync before each acknowledgement a power cut loses nothing; without, only processes die.
  broker::ConfigMap config() const {
    broker::ConfigMap config = {{"min.insync.replicas", "2"},
                                {"replica.lag.time.max.ms", "3000"},
                                {"offsets.topic.num.partitions", "1"},
                                {"offsets.topic.replication.factor", "3"},
                                {"transaction.state.log.num.partitions", "2"},
                                {"transaction.state.log.replication.factor", "3"},
                                // With 2 it waits for an unclean election when all have died.
                                {"transaction.state.log.min.isr", "1"},
                                {"share.coordinator.state.topic.num.partitions", "2"},
                                {"share.coordinator.state.topic.replication.factor", "3"},
                                {"share.coordinator.state.topic.min.isr", "1"},
                                {"group.consumer.min.session.timeout.ms", session()},
                                {"group.consumer.session.timeout.ms", session()},
                                {"group.streams.min.session.timeout.ms", session()},
                                {"group.streams.session.timeout.ms", session()},
                                {kAbortCheck, "1000"},
                                {"leader.imbalance.check.interval.seconds", "5"}};
    if (power_) {
      config["log.flush.interval.messages"] = "1";
    }
    return config;
  }

  bool is_idle() const {
    return load_.is_idle() && readers_.is_idle() && transactors_.is_idle() && passing_.is_idle();
  }

  void trouble() {
    const size_t node = chance_.next() % cluster_.size();
    const size_t other = chance_.next() % cluster_.size();
    switch (chance_.next() % 24) {
      case 0:
      case 1:
        if (cluster_.is_up(node)) {
          cluster_.crash(node, power_ && chance_.next() % 2 == 0);
        }
        break;
      case 2: cluster_.cut(node, other); break;
      case 3: cluster_.set_loss(chance_.next() % 3 * 5); break;
      case 4:
      case 5: cluster_.heal(); break;
      case 6: cluster_.pause(node, static_cast<int64_t>(chance_.next() % 4'000)); break;
      case 7:
        cluster_.jump(node, static_cast<int64_t>(chance_.next() % 3'600'000) - 1'800'000);
        break;
      case 8:
      case 9: load_.reassign(); break;
      case 10: load_.elect(); break;
      case 11:
        if (chance_.next() % 8 == 0) {
          replace_disk(node);
        }
        break;
      case 12: cluster_.slow_down(node, static_cast<int64_t>(chance_.next() % 500)); break;
      case 13:
        if (chance_.next() % 4 == 0) {
          crash_all();
        }
        break;
      case 14:
        if (cluster_.is_up(node)) {
          cluster_.stop(node);
        }
        break;
      case 15: usurp(); break;
      default:
        if (!cluster_.is_up(node)) {
          cluster_.start(node);
        }
    }
  }

  // Another replica takes the lead while nobody is down, and dies before all have followed it.
  void usurp() {
    const auto leader = load_.reorder();
    cluster_.run(200);
    load_.elect();
    cluster_.run(static_cast<int64_t>(chance_.next() % 50) + 10);
    if (leader && cluster_.is_up(*leader)) {
      cluster_.crash(*leader, false);
    }
  }

  // All at once: the power of the house, say.
  void crash_all() {
    for (size_t i = 0; i < cluster_.size(); ++i) {
      if (cluster_.is_up(i)) {
        cluster_.crash(i, power_);
      }
    }
  }

  void restore() {
    cluster_.heal();
    for (size_t i = 0; i < cluster_.size(); ++i) {
      if (!cluster_.is_up(i)) {
        cluster_.start(i);
      }
    }
  }
  bool become_whole() {
    restore();
    for (int i = 0; i < 200 && !load_.is_whole(); ++i) {
      cluster_.run(200);
      restore();
    }
    return load_.is_whole();
  }

  // What a disk held is safe on the others only while they are all in sync, and nothing else may
  // happen before it is there again.
  void replace_disk(size_t node) {
    if (!become_whole()) {
      return;
    }
    cluster_.run(3'000);
    if (!load_.is_whole()) {
      return;
    }
    cluster_.wipe(node);
    cluster_.start(node);
    cluster_.run(3'000);
    wiped_in_vain_ = wiped_in_vain_ || !become_whole();
  }

  // Gives a condition so many times so long to come true.
  template <class Condition>
  bool comes_true(int times, int64_t ms, const Condition& condition) {
    for (int i = 0; i < times && !condition(); ++i) {
      cluster_.run(ms);
    }
    return condition();
  }

  std::string check() {
    if (wiped_in_vain_ || !become_whole()) {
      return "a replica does not come back into its ISR";
    }
    std::optional<std::string> told;
    const auto is_told = [&told] { return told.has_value(); };
    readers_.check_commits([&told](std::string wrong) { told = std::move(wrong); });
    if (!comes_true(500, 200, is_told) || !told->empty()) {
      return told.value_or("nobody tells the committed offsets");
    }
    told.reset();
    transactors_.check_offsets([&told](std::string wrong) { told = std::move(wrong); });
    if (!comes_true(500, 200, is_told) || !told->empty()) {
      return told.value_or("nobody tells the offsets of transactions");
    }
    std::string wrong = transactors_.check();
    wrong = wrong.empty() ? check(consumers_) : wrong;
    wrong = wrong.empty() ? check(streams_) : wrong;
    wrong = wrong.empty() ? check_shared() : wrong;
    wrong = wrong.empty() ? check_passing() : wrong;
    return wrong.empty() ? load_.check(readers_) : wrong;
  }
  std::string check(Members& members) {
    if (!comes_true(200, 500, [&] { return members.have_all() || !members.wrong().empty(); })) {
      return "a partition has no owner in group " + members.group();
    }
    members.stop();
    return comes_true(100, 200, [&] { return members.is_idle(); })
               ? members.wrong()
               : "a member of group " + members.group() + " does not end";
  }
  // Topics still come and go when nothing happens any more, and the disks take their time.
  void end_passing() {
    restore();
    for (const int64_t ms : {200, 0}) {
      for (size_t i = 0; i < cluster_.size(); ++i) {
        cluster_.slow_down(i, ms);
      }
      cluster_.run(ms * 20);
    }
    passing_.stop();
  }
  std::string check_passing() {
    std::string wrong;
    comes_true(100, 200, [&] { return (wrong = passing_.check()).empty(); });
    return wrong;
  }
  // Records that dead members have come back when their locks run out.
  std::string check_shared() {
    const auto& committed = transactors_.committed_values();
    comes_true(200, 500, [&] { return sharers_.have_all(committed); });
    sharers_.stop();
    return comes_true(100, 200, [this] { return sharers_.is_idle(); })
               ? sharers_.check(committed)
               : "a member of the share group does not end";
  }

  bool power_;
  SimCluster cluster_;
  storage::SimRandom chance_;
  Workload load_;
  Readers readers_;
  Transactors transactors_;
  Sharers sharers_;
  Members consumers_;
  Members streams_;
  Passing passing_;
  Onlooker onlooker_;
  bool wiped_in_vain_ = false;
};

Outcome live(uint64_t seed, int64_t trouble_ms) {
  spdlog::set_level(std::getenv("KLAMM_SIM_LOG") != nullptr ? spdlog::level::debug
                                                            : spdlog::level::off);
  return Life(seed).live(trouble_ms);
}

}  // namespace

TEST_CASE("a cluster that nothing happens to acknowledges everything, and replicas are equal") {
  const Outcome outcome = live(1, 0);
  CHECK(outcome.wrong.empty());
}

TEST_CASE("whatever happens to nodes, links and power, nothing acknowledged is lost or doubled") {
  std::vector<uint64_t> seeds;
  const char* const given = std::getenv("KLAMM_SIM_SEEDS");  // how many; or one, as =SEED
  const std::string text = given == nullptr ? "30" : given;
  if (text.starts_with('=')) {
    seeds = {std::stoull(text.substr(1))};
  } else {
    for (uint64_t seed = 1; seed <= std::stoull(text); ++seed) {
      seeds.push_back(seed);
    }
  }
  size_t acknowledged = 0;
  size_t read = 0;
  size_t commits = 0;
  size_t transactions = 0;
  size_t shared = 0;
  size_t consumer_commits = 0;
  size_t streams_commits = 0;
  size_t passed = 0;
  for (const uint64_t seed : seeds) {
    const Outcome outcome = live(seed, 20'000);
    INFO("seed " << seed << ": " << outcome.wrong);
    CHECK(outcome.wrong.empty());
    acknowledged += outcome.acknowledged;
    read += outcome.read;
    commits += outcome.commits;
    transactions += outcome.transactions;
    shared += outcome.shared;
    consumer_commits += outcome.consumer_commits;
    streams_commits += outcome.streams_commits;
    passed += outcome.passed;
  }
  CHECK(acknowledged > 100 * seeds.size());
  CHECK(read > 50 * seeds.size());
  CHECK(commits > 10 * seeds.size());
  CHECK(transactions > 20 * seeds.size());
  CHECK(shared > 20 * seeds.size());
  CHECK(consumer_commits > 20 * seeds.size());
  CHECK(streams_commits > 20 * seeds.size());
  CHECK(passed > 5 * seeds.size());
}

TEST_CASE("transactions that follow each other at once are all let in while nothing happens") {
  spdlog::set_level(spdlog::level::off);
  SimCluster cluster({.nodes = 3, .seed = 1, .config = {{"offsets.topic.num.partitions", "1"}}});
  Transactors transactors(cluster, 3, 6);
  for (int i = 0; i < 600 && !transactors.create(); ++i) {
    cluster.run(50);
  }
  transactors.start();
  cluster.run(20'000);
  transactors.stop();
  CHECK(transactors.committed() > 100);
  CHECK(transactors.unconfirmed() == 0);
}

TEST_CASE("a broker whose power was cut leads nothing, though it was the last in sync") {
  spdlog::set_level(spdlog::level::off);
  SimCluster cluster({.nodes = 5, .seed = 1, .config = {{"offsets.topic.num.partitions", "1"}}});
  Workload load(cluster, "t", 1, {{"min.insync.replicas", "2"}});
  Readers nobody(cluster, "t", 1);
  for (int i = 0; i < 600 && !load.create(); ++i) {
    cluster.run(50);
  }
  load.start();
  cluster.run(5'000);
  load.stop();
  cluster.run(5'000);
  REQUIRE(load.is_whole());
  REQUIRE(load.acknowledged() > 100);
  const std::vector<size_t> holders = load.holders();
  for (const size_t peer : {holders.at(0), holders.at(1)}) {
    cluster.stop(peer);
    cluster.run(5'000);
    REQUIRE_FALSE(cluster.is_up(peer));
  }
  cluster.crash(holders.at(2), true);
  cluster.start(holders.at(2));
  cluster.run(10'000);
  cluster.start(holders.at(0));
  cluster.start(holders.at(1));
  for (int i = 0; i < 100 && !load.is_whole(); ++i) {
    cluster.run(200);
  }
  INFO(load.describe());
  CHECK(load.is_whole());
  CHECK(load.check(nobody).empty());
}

TEST_CASE("the same seed gives the same trace") {
  CHECK(live(4, 8'000).trace == live(4, 8'000).trace);
  CHECK(live(4, 8'000).trace != live(6, 8'000).trace);
}
