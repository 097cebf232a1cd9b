#include "replication/raft/quorum.h"

#include <catch2/catch.hpp>

#include "protocol/generated/access_control_entry_record.h"
#include "protocol/generated/config_record.h"
#include "protocol/generated/partition_record.h"
#include "protocol/generated/remove_topic_record.h"
#include "protocol/generated/topic_record.h"
#include "replication/metadata/snapshot.h"
#include "storage/env/sim_disk.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

struct Nobody : Transport {
  void send(const Address&, Call) override { FAIL("a voter who is alone asks nobody"); }
};

QuorumOptions options_of() {
  QuorumOptions options;
  options.log.folder = "/d/__cluster_metadata-0";
  options.raft.self = {1, {}};
  options.raft.static_voters = *VoterSet::parse("1@localhost:9093", "CONTROLLER");
  return options;
}

Result<std::unique_ptr<Quorum>> open(storage::Disk& disk,
                                     const QuorumOptions& options = options_of()) {
  static storage::SimClock clock;
  static storage::SimRandom random(1);
  static Nobody transport;
  return Quorum::open(disk, clock, random, transport, options);
}

Bytes topic(const std::string& name, uint64_t id) {
  protocol::TopicRecord record;
  record.name = name;
  record.topic_id = {0, id};
  return to_record(record, 0);
}

}  // namespace

TEST_CASE("an empty folder is formatted and starts with the features of the release") {
  storage::SimDisk disk;
  auto quorum = open(disk);
  REQUIRE(quorum.has_value());
  CHECK((*quorum)->image()->features.at("metadata.version") == 33);
  CHECK((*quorum)->image()->config(ConfigResource::kBroker, "").at("min.insync.replicas") == "1");
  CHECK(disk.exists("/d/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"));
  // The same form as the reference's, byte for byte.
  CHECK(
      *disk.read_file("/d/__cluster_metadata-0/quorum-state") ==
      R"({"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0})");
}

TEST_CASE("the voters that a directory was formatted with go into the log, whoever formatted it") {
  storage::SimDisk disk;
  storage::SimClock clock;
  QuorumOptions options = options_of();
  options.raft.self = {1, {4, 5}};
  const VoterSet voters({{.key = options.raft.self, .endpoints = {{"CONTROLLER", {"h", 9093}}}}});
  REQUIRE(Quorum::format(disk, clock, options.log, voters));
  // The stock tool writes no more than the snapshot 0-0.
  REQUIRE(disk.remove("/d/__cluster_metadata-0/partition.metadata"));
  {
    const auto quorum = *open(disk, options);
    CHECK(quorum->raft().kraft_version() == 1);
    CHECK(quorum->raft().voters() == voters);
    CHECK(disk.exists("/d/__cluster_metadata-0/partition.metadata"));
  }
  // In the log as well, from where others get them.
  REQUIRE(disk.remove("/d/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"));
  CHECK((*open(disk, options))->raft().voters() == voters);
}

TEST_CASE("every start is a new epoch, and the image comes back from the log") {
  storage::SimDisk disk;
  {
    auto quorum = *open(disk);
    REQUIRE(quorum->append({topic("a", 1), topic("b", 2)}).has_value());
    CHECK(quorum->raft().epoch() == 1);
  }
  auto quorum = *open(disk);
  CHECK(quorum->raft().epoch() == 2);
  CHECK(quorum->image()->topic("a") != nullptr);
  CHECK(quorum->image()->topic("b") != nullptr);
}

TEST_CASE("a committed change survives a power cut") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    storage::SimDisk disk(seed);
    {
      auto quorum = *open(disk);
      REQUIRE(quorum->append({topic("a", 1)}).has_value());
    }
    disk.cut_power();
    auto quorum = open(disk);
    REQUIRE(quorum.has_value());
    CHECK((*quorum)->image()->topic("a") != nullptr);
  }
}

TEST_CASE("the observer sees the image before and after") {
  storage::SimDisk disk;
  auto quorum = *open(disk);
  int calls = 0;
  quorum->observe([&](const ImagePtr& before, const ImagePtr& now) {
    ++calls;
    CHECK(before->topic("a") == nullptr);
    CHECK(now->topic("a") != nullptr);
  });
  REQUIRE(quorum->append({topic("a", 1)}).has_value());
  CHECK(calls == 1);
}

TEST_CASE("a record that does not apply changes nothing") {
  storage::SimDisk disk;
  auto quorum = *open(disk);
  const int64_t end = quorum->end_offset();
  CHECK_FALSE(quorum->append({topic("a", 1), Bytes::copy_of("\x01")}).has_value());
  CHECK(quorum->end_offset() == end);
  CHECK(quorum->image()->topic("a") == nullptr);
}

TEST_CASE("a snapshot holds everything, a restart begins with it, and the log behind it goes") {
  storage::SimDisk disk;
  QuorumOptions options = options_of();
  options.snapshot_bytes = 2000;
  options.log.segment_bytes = 2000;
  options.log.retention_bytes = 3000;
  const auto settings = [](const std::string& topic) {
    protocol::ConfigRecord config;
    config.resource_type = static_cast<int8_t>(ConfigResource::kTopic);
    config.resource_name = topic;
    config.name = "retention.ms";
    config.value = "1";
    return to_record(config, 0);
  };
  // Nothing of what this node makes; a snapshot must carry it all the same.
  protocol::AccessControlEntryRecord acl;
  acl.principal = "User:a";
  std::vector<Bytes> before;
  {
    auto quorum = open(disk, options);
    REQUIRE(quorum);
    REQUIRE((*quorum)->append({to_record(acl, 0)}));
    for (uint64_t i = 0; i < 60; ++i) {
      protocol::TopicRecord topic;
      topic.name = "t" + std::to_string(i);
      topic.topic_id = {1, i + 1};
      protocol::PartitionRecord partition;
      partition.topic_id = topic.topic_id;
      partition.replicas = partition.isr = {1};
      partition.leader = 1;
      partition.directories = {Uuid{4, 4}};
      REQUIRE(
          (*quorum)->append({to_record(topic, 0), to_record(partition, 2), settings(topic.name)}));
      if (i % 3 == 0) {
        protocol::RemoveTopicRecord remove;
        remove.topic_id = topic.topic_id;
        REQUIRE((*quorum)->append({to_record(remove, 0)}));
      }
    }
    CHECK((*quorum)->snapshot_end() > 0);
    before = to_records(*(*quorum)->image());
  }
  CHECK_FALSE(disk.exists("/d/__cluster_metadata-0/00000000000000000000.log"));
  const bool cut = GENERATE(false, true);
  if (cut) {
    disk.cut_power();
  }
  auto quorum = open(disk, options);
  REQUIRE(quorum);
  CHECK(to_records(*(*quorum)->image()) == before);
  CHECK((*quorum)->image()->others->size() == 1);
  CHECK((*quorum)->snapshot_end() > 0);
}
