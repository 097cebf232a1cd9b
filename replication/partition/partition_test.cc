#include "replication/partition/partition.h"

#include <catch2/catch.hpp>
#include <deque>

#include "storage/env/guarded_disk.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

struct Counter : Watcher {
  int told = 0;
  void notify() override { ++told; }
};

// Work waits until it is told to go on.
struct Held : storage::Background {
  std::deque<std::pair<Work, Done>> works;
  std::shared_ptr<Ticket> run(Work work, Done done) override {
    works.emplace_back(std::move(work), std::move(done));
    return nullptr;
  }
  void do_next() {
    auto [work, done] = std::move(works.front());
    works.pop_front();
    done(work());
  }
};

storage::InlineBackground at_once;

std::shared_ptr<Partition> make(storage::SimDisk& disk, storage::LogConfig config = {},
                                storage::Background& background = at_once) {
  auto partition =
      std::make_shared<Partition>(storage::TopicPartition{"t", 0}, Uuid(),
                                  *storage::Log::open(disk, "/d/t-0", config, {}), background);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1});
  return partition;
}

}  // namespace

TEST_CASE("what the whole ISR has is committed, and watchers are told once") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  auto counter = std::make_shared<Counter>();
  partition->watch(counter);
  REQUIRE(partition->append(storage::make_batch(3, 1), -1, 1).has_value());
  REQUIRE(partition->append(storage::make_batch(3, 1), -1, 1).has_value());
  CHECK(partition->high_watermark() == 6);
  CHECK(counter->told == 1);
}

TEST_CASE("acks=all needs the minimum in-sync replicas, acks=1 does not") {
  storage::SimDisk disk;
  const auto partition = make(disk, {.min_insync_replicas = 2});
  partition->update({.replicas = {1, 2}, .isr = {1}, .leader = 1, .partition_epoch = 1});
  CHECK(partition->append(storage::make_batch(1, 1), -1, 1).error().code ==
        ErrorCode::kNotEnoughReplicas);
  CHECK(partition->append(storage::make_batch(1, 1), 1, 1).has_value());
}

TEST_CASE("the requester's epoch must be the leader's") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1, .leader_epoch = 5});
  CHECK(partition->check_epoch(-1) == ErrorCode::kNone);
  CHECK(partition->check_epoch(5) == ErrorCode::kNone);
  CHECK(partition->check_epoch(4) == ErrorCode::kFencedLeaderEpoch);
  CHECK(partition->check_epoch(6) == ErrorCode::kUnknownLeaderEpoch);
}

TEST_CASE("with a flush per message many acknowledgements share one sync") {
  storage::SimDisk disk;
  Held background;
  const auto partition = make(disk, {.flush_messages = 1}, background);
  std::vector<int> acknowledged;
  const auto produce = [&](int who) {
    const auto info = partition->append(storage::make_batch(1, 1), 1, 1);
    REQUIRE(info);
    partition->when_committed(info->last_offset + 1, [&acknowledged, who](ErrorCode code) {
      CHECK(code == ErrorCode::kNone);
      acknowledged.push_back(who);
    });
  };
  produce(0);
  REQUIRE(background.works.size() == 1);
  for (int who = 1; who <= 5; ++who) {
    produce(who);  // while the first sync is under way
  }
  CHECK(background.works.size() == 1);
  CHECK(acknowledged.empty());
  CHECK(partition->high_watermark() == 0);
  background.do_next();
  CHECK(acknowledged == std::vector<int>{0});
  CHECK(partition->high_watermark() == 1);
  REQUIRE(background.works.size() == 1);
  background.do_next();
  CHECK(acknowledged == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(partition->high_watermark() == 6);
  CHECK(background.works.empty());
}

TEST_CASE("a failed sync refuses those who wait, and nothing is acknowledged after it") {
  storage::SimDisk below;
  storage::GuardedDisk disk(below);
  Held background;
  const auto partition = std::make_shared<Partition>(
      storage::TopicPartition{"t", 0}, Uuid(),
      *storage::Log::open(disk, "/d/t-0", {.flush_messages = 1}, {}), background);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1});
  REQUIRE(partition->append(storage::make_batch(1, 1), 1, 1));
  std::optional<ErrorCode> told;
  partition->when_committed(1, [&](ErrorCode code) { told = code; });
  below.fail_nth(1);
  background.do_next();
  CHECK(told == ErrorCode::kKafkaStorageError);
  CHECK(partition->append(storage::make_batch(1, 1), 1, 1).error().code ==
        ErrorCode::kKafkaStorageError);
  CHECK(partition->high_watermark() == 0);
}
