// A whole node of several shards in one thread: which shard works next is drawn from a seed, the
// disk and the time are simulated. What clients see must not depend on the number of shards.
#include <catch2/catch.hpp>

#include "broker/test_cluster.h"
#include "protocol/generated/delete_records_request.h"
#include "protocol/generated/delete_records_response.h"
#include "protocol/generated/find_coordinator_request.h"
#include "protocol/generated/find_coordinator_response.h"
#include "protocol/generated/list_offsets_request.h"
#include "protocol/generated/list_offsets_response.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;
using namespace klamm::broker::test;

namespace {

int64_t bytes_of(const FetchResponse& response) {
  int64_t bytes = 0;
  for (const auto& topic : response.responses) {
    for (const auto& partition : topic.partitions) {
      CHECK(partition.error_code == ErrorCode::kNone);
      bytes += partition.records ? static_cast<int64_t>(partition.records->size()) : 0;
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("a request for partitions of many shards is answered in its own order") {
  const auto shards = GENERATE(1, 2, 3, 5);
  Cluster cluster(static_cast<size_t>(shards), static_cast<uint64_t>(shards) * 11);
  const Uuid topic = cluster.create_topic();
  const auto produced =
      cluster.client(2).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
  ListOffsetsRequest ends;
  ends.replica_id = -1;
  ends.topics = {{.name = "t"}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    const auto& partition = produced.responses.at(0).partition_responses.at(static_cast<size_t>(i));
    CHECK(partition.index == i);
    CHECK(partition.error_code == ErrorCode::kNone);
    CHECK(partition.base_offset == 0);
    ends.topics[0].partitions.push_back({.partition_index = i, .timestamp = -1});
  }
  const auto listed = cluster.client(0).ask<ListOffsetsResponse>(ends);
  for (int32_t i = 0; i < kPartitions; ++i) {
    CHECK(listed.topics.at(0).partitions.at(static_cast<size_t>(i)).offset == i + 1);
  }
  const auto fetched = cluster.client(4).ask<FetchResponse>(fetch_from_all(topic, 0, 1));
  CHECK(bytes_of(fetched) > kPartitions * 100);
}

TEST_CASE("a parked fetch is woken by news on any shard, and by its time limit") {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Cluster cluster(4, seed);
    const Uuid topic = cluster.create_topic();
    Client& consumer = cluster.client(seed);
    consumer.send(fetch_from_all(topic, 0, 2500));
    cluster.turns->run();
    CHECK_FALSE(consumer.is_answered());
    // Some partitions alone are not enough; all together are.
    ProduceRequest few = produce_to_all(topic, cluster.clock.wall_ms());
    few.topic_data[0].partition_data.resize(2);
    cluster.client(seed + 1).ask<ProduceResponse>(few);
    CHECK_FALSE(consumer.is_answered());
    cluster.client(seed + 2).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
    REQUIRE(consumer.is_answered());
    CHECK(bytes_of(consumer.answer<FetchResponse>()) >= 2500);
    consumer.send(fetch_from_all(topic, 1000, 1));  // out of range: an error does not wait
    cluster.turns->run();
    CHECK(consumer.is_answered());
    FetchRequest at_end = fetch_from_all(topic, 0, 1);
    for (int32_t i = 0; i < kPartitions; ++i) {
      at_end.topics[0].partitions[static_cast<size_t>(i)].fetch_offset =
          i + 1 + (i < 2 ? i + 1 : 0);
    }
    consumer.send(at_end);
    cluster.pass(499);
    CHECK_FALSE(consumer.is_answered());
    cluster.pass(1);
    REQUIRE(consumer.is_answered());
    CHECK(bytes_of(consumer.answer<FetchResponse>()) == 0);
  }
}

TEST_CASE("a fetch that hears of much that is not enough waits once with each partition") {
  const auto shards = static_cast<size_t>(GENERATE(1, 4));
  Cluster cluster(shards, 9);
  const Uuid topic = cluster.create_topic();
  Client consumer(*cluster.node, *cluster.turns, 0);
  consumer.send(fetch_from_all(topic, 0, 1 << 20));
  const ProduceRequest to_all = produce_to_all(topic, cluster.clock.wall_ms());
  for (int32_t i = 0; i < 40; ++i) {
    ProduceRequest one = to_all;
    one.topic_data[0].partition_data = {
        {.index = i % kPartitions,
         .records = Payload(storage::make_batch(1, cluster.clock.wall_ms()))}};
    cluster.client(2).ask<ProduceResponse>(i % 10 == 9 ? to_all : one);
    for (int32_t p = 0; p < kPartitions; ++p) {
      auto& replicas = cluster.node->shard(cluster.node->shard(0).owner(topic, p)).replicas();
      REQUIRE((*replicas.find(topic, p))->watchers() <= 64);
    }
  }
  CHECK_FALSE(consumer.is_answered());
  cluster.pass(500);
  CHECK(consumer.is_answered());
}

TEST_CASE("groups on every shard commit, and a restart with other shards finds everything") {
  Cluster cluster(3, 1);
  const Uuid topic = cluster.create_topic();
  cluster.client(0).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
  FindCoordinatorRequest find;
  find.coordinator_keys = {"g0"};
  cluster.client(2).ask<FindCoordinatorResponse>(find);
  for (int i = 0; i < 20; ++i) {
    OffsetCommitRequest commit;
    commit.group_id = "g" + std::to_string(i);
    commit.generation_id_or_member_epoch = -1;
    commit.topics = {{.topic_id = topic}};
    commit.topics[0].partitions = {{.partition_index = 0, .committed_offset = i}};
    const auto committed = cluster.client(static_cast<size_t>(i)).ask<OffsetCommitResponse>(commit);
    REQUIRE(committed.topics.at(0).partitions.at(0).error_code == ErrorCode::kNone);
  }
  DeleteRecordsRequest remove;
  remove.topics = {{.name = "t", .partitions = {{.partition_index = 5, .offset = 4}}}};
  CHECK(cluster.client(1)
            .ask<DeleteRecordsResponse>(remove)
            .topics.at(0)
            .partitions.at(0)
            .low_watermark == 4);
  const bool clean = GENERATE(true, false);
  if (clean) {
    REQUIRE(cluster.node->close());
  }
  cluster.start(5, 2);
  OffsetFetchRequest fetch;
  for (int i = 0; i < 20; ++i) {
    fetch.groups.push_back({.group_id = "g" + std::to_string(i)});
    fetch.groups.back().topics.reset();
  }
  const auto offsets = cluster.client(4).ask<OffsetFetchResponse>(fetch);
  for (int i = 0; i < 20; ++i) {
    const auto& group = offsets.groups.at(static_cast<size_t>(i));
    CHECK(group.group_id == "g" + std::to_string(i));
    CHECK(group.topics.at(0).partitions.at(0).committed_offset == i);
  }
  ListOffsetsRequest starts;
  starts.replica_id = -1;
  starts.topics = {{.name = "t", .partitions = {{.partition_index = 5, .timestamp = -2}}}};
  CHECK(cluster.client(2).ask<ListOffsetsResponse>(starts).topics.at(0).partitions.at(0).offset ==
        4);
}
