#include "storage/log_dir.h"

#include <catch2/catch.hpp>

#include "storage/env/sim_disk.h"

using namespace klamm;
using namespace klamm::storage;

TEST_CASE("a new directory gets an identity and keeps it") {
  SimDisk disk;
  SimRandom random(5);
  protocol::Uuid id;
  {
    auto dir = LogDir::open(disk, random, "/d", {"cluster", 1});
    REQUIRE(dir.has_value());
    id = (*dir)->directory_id();
    CHECK_FALSE((*dir)->was_clean());
  }
  auto again = LogDir::open(disk, random, "/d", {"", 1});
  REQUIRE(again.has_value());
  CHECK((*again)->directory_id() == id);
  CHECK((*again)->identity().cluster_id == "cluster");
}

TEST_CASE("a directory of another cluster or node is refused") {
  SimDisk disk;
  SimRandom random(5);
  REQUIRE(LogDir::open(disk, random, "/d", {"cluster", 1}).has_value());
  CHECK(LogDir::open(disk, random, "/d", {"other", 1}).error().code ==
        ErrorCode::kInconsistentClusterId);
  CHECK_FALSE(LogDir::open(disk, random, "/d", {"cluster", 2}).has_value());
}

TEST_CASE("the mark of a clean stop holds the broker epoch and serves once") {
  SimDisk disk;
  SimRandom random(5);
  REQUIRE((*LogDir::open(disk, random, "/d", {"c", 1}))->mark_clean(13).has_value());
  CHECK(*disk.read_file("/d/.kafka_cleanshutdown") == "{\"version\":0,\"brokerEpoch\":13}");
  const auto clean = LogDir::open(disk, random, "/d", {"c", 1});
  CHECK((*clean)->was_clean());
  CHECK((*clean)->last_broker_epoch() == 13);
  CHECK_FALSE((*LogDir::open(disk, random, "/d", {"c", 1}))->was_clean());
}

TEST_CASE("a stray folder is kept under a name that nobody takes for a partition") {
  SimDisk disk;
  SimRandom random(5);
  auto dir = *LogDir::open(disk, random, "/d", {"c", 1});
  REQUIRE(disk.make_dirs("/d/lost-0").has_value());
  REQUIRE(disk.write_file("/d/lost-0/00000000000000000000.log", "x").has_value());
  const auto kept = dir->mark_stray({"lost", 0}, random);
  REQUIRE(kept.has_value());
  CHECK(kept->ends_with("-stray"));
  CHECK(dir->partitions()->empty());
  CHECK(*disk.read_file(*kept + "/00000000000000000000.log") == "x");
}

TEST_CASE("partitions are found with their topic ids, and interrupted deletions are finished") {
  SimDisk disk;
  SimRandom random(5);
  auto dir = *LogDir::open(disk, random, "/d", {"c", 1});
  const protocol::Uuid id = new_uuid(random);
  REQUIRE(disk.make_dirs("/d/my-topic-3").has_value());
  REQUIRE(disk.replace_file("/d/my-topic-3/partition.metadata", format_partition_metadata(id))
              .has_value());
  REQUIRE(disk.make_dirs("/d/gone-0").has_value());
  REQUIRE(dir->mark_deleted({"gone", 0}, random).has_value());
  REQUIRE(disk.make_dirs("/d/__cluster_metadata-0").has_value());
  const auto found = dir->partitions();
  REQUIRE(found.has_value());
  REQUIRE(found->size() == 1);
  CHECK(found->front().id == TopicPartition{"my-topic", 3});
  CHECK(found->front().topic_id == id);
}
