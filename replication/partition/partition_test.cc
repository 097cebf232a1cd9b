#include "replication/partition/partition.h"

#include <catch2/catch.hpp>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

struct Counter : Watcher {
  int told = 0;
  void notify() override { ++told; }
};

Partition make(storage::SimDisk& disk, storage::LogConfig config = {}) {
  return Partition({"t", 0}, {}, *storage::Log::open(disk, "/d/t-0", config, {}));
}

}  // namespace

TEST_CASE("what the whole ISR has is committed, and watchers are told once") {
  storage::SimDisk disk;
  Partition partition = make(disk);
  auto counter = std::make_shared<Counter>();
  partition.watch(counter);
  REQUIRE(partition.append(storage::make_batch(3, 1), -1, 1).has_value());
  REQUIRE(partition.append(storage::make_batch(3, 1), -1, 1).has_value());
  CHECK(partition.high_watermark() == 6);
  CHECK(counter->told == 1);
}

TEST_CASE("acks=all needs the minimum in-sync replicas, acks=1 does not") {
  storage::SimDisk disk;
  Partition partition = make(disk, {.min_insync_replicas = 2});
  partition.update({.replicas = {1}, .isr = {1}});
  CHECK(partition.append(storage::make_batch(1, 1), -1, 1).error().code ==
        ErrorCode::kNotEnoughReplicas);
  CHECK(partition.append(storage::make_batch(1, 1), 1, 1).has_value());
}

TEST_CASE("the requester's epoch must be the leader's") {
  storage::SimDisk disk;
  Partition partition = make(disk);
  partition.update({.leader_epoch = 5});
  CHECK(partition.check_epoch(-1) == ErrorCode::kNone);
  CHECK(partition.check_epoch(5) == ErrorCode::kNone);
  CHECK(partition.check_epoch(4) == ErrorCode::kFencedLeaderEpoch);
  CHECK(partition.check_epoch(6) == ErrorCode::kUnknownLeaderEpoch);
}
