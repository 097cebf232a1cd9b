// A node whose disks fill up, fail, were not closed cleanly or change places.
#include "broker/test_cluster.h"
#include "protocol/generated/alter_replica_log_dirs_request.h"
#include "protocol/generated/alter_replica_log_dirs_response.h"
#include "protocol/generated/delete_topics_request.h"
#include "protocol/generated/delete_topics_response.h"
#include "protocol/generated/describe_log_dirs_request.h"
#include "protocol/generated/describe_log_dirs_response.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;
using namespace klamm::broker::test;

namespace {

// The errors of a produce to all partitions.
std::vector<ErrorCode> produce(Cluster& cluster, const Uuid& topic) {
  const auto response =
      cluster.client(0).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
  std::vector<ErrorCode> errors;
  for (const auto& partition : response.responses.at(0).partition_responses) {
    errors.push_back(partition.error_code);
  }
  return errors;
}

std::vector<int64_t> high_watermarks(Cluster& cluster, const Uuid& topic) {
  const auto response = cluster.client(0).ask<FetchResponse>(fetch_from_all(topic, 0, 0));
  std::vector<int64_t> ends(kPartitions, -1);
  for (const auto& partition : response.responses.at(0).partitions) {
    ends[static_cast<size_t>(partition.partition_index)] = partition.high_watermark;
  }
  return ends;
}

std::string dir_of(Cluster& cluster, int32_t partition) {
  const std::string folder = "t-" + std::to_string(partition);
  return cluster.disk.exists("/a/" + folder + "/partition.metadata") ? "/a" : "/b";
}

const std::vector<ErrorCode> kAllFine(kPartitions, ErrorCode::kNone);

}  // namespace

TEST_CASE("a full disk refuses producers, serves readers, and recovers by itself") {
  const auto shards = GENERATE(1, 3);
  Cluster cluster(static_cast<size_t>(shards), 5);
  const Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  cluster.disk.set_capacity(1);
  CHECK(produce(cluster, topic) ==
        std::vector<ErrorCode>(kPartitions, ErrorCode::kKafkaStorageError));
  const auto ends = high_watermarks(cluster, topic);
  for (int32_t i = 0; i < kPartitions; ++i) {
    CHECK(ends[static_cast<size_t>(i)] == i + 1);
  }
  CHECK(cluster.halts == 0);
  cluster.disk.set_capacity(UINT64_MAX);
  CHECK(produce(cluster, topic) == kAllFine);
  CHECK(high_watermarks(cluster, topic)[3] == 8);
  REQUIRE(cluster.node->close());
  cluster.start(1, 1);
  CHECK(high_watermarks(cluster, topic)[3] == 8);
}

TEST_CASE("one of two directories fails: its partitions lose their leader, the others go on") {
  const auto shards = GENERATE(1, 3);
  Cluster cluster(static_cast<size_t>(shards), 5, {{"log.flush.interval.messages", "1"}});
  const Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  cluster.disk.fail_below("/b");
  const auto during = produce(cluster, topic);
  const auto after = produce(cluster, topic);
  for (int32_t i = 0; i < kPartitions; ++i) {
    const auto place = static_cast<size_t>(i);
    const bool is_broken = dir_of(cluster, i) == "/b";
    CHECK(during[place] == (is_broken ? ErrorCode::kKafkaStorageError : ErrorCode::kNone));
    const auto* image = cluster.node->image()->partition("t", i);
    CHECK(image->leader == (is_broken ? -1 : 1));
    CHECK((after[place] == ErrorCode::kNone) == !is_broken);
  }
  CHECK(std::count(after.begin(), after.end(), ErrorCode::kNone) == kPartitions / 2);
  CHECK(cluster.halts == 0);
  DescribeLogDirsRequest describe;
  describe.topics.reset();
  const auto dirs = cluster.client(0).ask<DescribeLogDirsResponse>(describe);
  CHECK(dirs.results.at(0).error_code == ErrorCode::kNone);
  CHECK(dirs.results.at(1).error_code == ErrorCode::kKafkaStorageError);
  // With the disk mended the next start takes everything up again; nothing acknowledged is lost.
  (void)cluster.node->close();
  cluster.disk.fail_below("");
  cluster.start(static_cast<size_t>(shards), 6);
  const auto ends = high_watermarks(cluster, topic);
  for (int32_t i = 0; i < kPartitions; ++i) {
    const int64_t acknowledged = (i + 1) * (dir_of(cluster, i) == "/b" ? 1 : 3);
    CHECK(ends[static_cast<size_t>(i)] >= acknowledged);
  }
  CHECK(produce(cluster, topic) == kAllFine);
}

TEST_CASE("without the directory of the metadata the node halts") {
  Cluster cluster(1, 5, {{"log.flush.interval.messages", "1"}});
  const Uuid topic = cluster.create_topic();
  cluster.disk.fail_below("/a");
  (void)produce(cluster, topic);
  CHECK(cluster.halts == 1);
}

TEST_CASE("with a flush per message nothing acknowledged is lost in a power cut") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    Cluster cluster(seed % 3 + 1, seed, {{"log.flush.interval.messages", "1"}});
    const Uuid topic = cluster.create_topic();
    for (uint64_t i = 0; i <= seed % 4; ++i) {
      REQUIRE(produce(cluster, topic) == kAllFine);
    }
    const auto before = high_watermarks(cluster, topic);
    cluster.clients.clear();
    cluster.node.reset();
    cluster.disk.cut_power();
    cluster.start(1, seed);
    CHECK(high_watermarks(cluster, topic) == before);
  }
}

TEST_CASE("after an unclean stop logs are recovered when asked for, the others in the background") {
  Cluster cluster(1, 5);
  const Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  cluster.start(1, 6);
  Replicas& replicas = cluster.node->shard(0).replicas();
  CHECK(replicas.find_open(topic, 3) == nullptr);
  REQUIRE(replicas.find(topic, 3));
  CHECK((*replicas.find(topic, 3))->log().end_offset() == 4);
  CHECK(replicas.find_open(topic, 4) == nullptr);
  SECTION("a stop before all are recovered is not clean") {
    REQUIRE(cluster.node->close());
    CHECK_FALSE(cluster.disk.exists("/a/.kafka_cleanshutdown"));
    CHECK_FALSE(cluster.disk.exists("/b/.kafka_cleanshutdown"));
  }
  SECTION("a stop after that is") {
    cluster.node->start_background();
    for (int i = 0; i < 20; ++i) {
      cluster.pass(1);
    }
    CHECK(cluster.node->shard(0).housekeeping().recovering() == 0);
    CHECK(replicas.find_open(topic, 4) != nullptr);
    REQUIRE(cluster.node->close());
    CHECK(cluster.disk.exists("/a/.kafka_cleanshutdown"));
    CHECK(cluster.disk.exists("/b/.kafka_cleanshutdown"));
  }
}

TEST_CASE("a stop before the metadata are known calls nothing clean that nobody has verified") {
  storage::SimDisk disk;
  storage::SimClock clock;
  storage::SimRandom random(3);
  storage::InlineWorkers workers;
  REQUIRE(storage::LogDir::open(disk, random, "/a", {"c", 1}));
  const bool has_log = GENERATE(true, false);
  if (has_log) {
    REQUIRE(disk.make_dirs("/a/t-0"));
    REQUIRE(disk.write_file("/a/t-0/partition.metadata",
                            storage::format_partition_metadata(storage::new_uuid(random))));
  }
  auto config = BrokerConfig::make({{"node.id", "1"},
                                    {"log.dirs", "/a"},
                                    {"klamm.shards", "1"},
                                    {"controller.quorum.voters", "1@a:1,2@b:1,3@c:1"},
                                    {"listeners", "PLAINTEXT://a:2,CONTROLLER://a:1"}});
  REQUIRE(config);
  auto node = Node::open({disk, clock, random, workers, 1}, std::move(*config), "c");
  REQUIRE(node);
  REQUIRE((*node)->close());
  CHECK(disk.exists("/a/.kafka_cleanshutdown") == !has_log);
}

TEST_CASE("retention reaches logs that nobody asks for, and closes them again") {
  Cluster cluster(1, 5, {{"log.retention.ms", "3600000"}, {"log.segment.bytes", "1048576"}});
  const Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  REQUIRE(cluster.node->close());
  cluster.start(1, 6);
  cluster.node->start_background();
  Replicas& replicas = cluster.node->shard(0).replicas();
  cluster.pass(60'000);
  for (int i = 0; i < 10; ++i) {
    cluster.pass(1);
  }
  CHECK(replicas.find_open(topic, 3) == nullptr);
  cluster.pass(7'200'000);
  for (int i = 0; i < 10; ++i) {
    cluster.pass(1);
  }
  REQUIRE(replicas.find_open(topic, 3) != nullptr);
  CHECK(replicas.find_open(topic, 3)->log().start_offset() == 4);
}

TEST_CASE("what was synced by a roll is not verified again after a kill") {
  Cluster cluster(2, 5, {{"log.segment.bytes", "1048576"}});
  const Uuid topic = cluster.create_topic();
  for (int i = 0; i < 1200; ++i) {
    REQUIRE(produce(cluster, topic) == kAllFine);
  }
  cluster.pass(1000);  // far less than log.flush.offset.checkpoint.interval.ms
  cluster.start(1, 6);
  Replicas& replicas = cluster.node->shard(0).replicas();
  const auto last = replicas.find(topic, kPartitions - 1);
  REQUIRE(last);
  CHECK((*last)->log().segment_count() > 1);
  CHECK((*last)->log().recovery_point() > 0);
  CHECK((*last)->log().end_offset() == 1200 * kPartitions);
}

TEST_CASE("a topic that is made again begins at 0, whatever the checkpoints say of its name") {
  Cluster cluster(1, 5);
  Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  REQUIRE((*cluster.node->shard(0).replicas().find(topic, 7))->log().advance_start(5, 1));
  REQUIRE(cluster.node->close());
  cluster.start(1, 6);
  DeleteTopicsRequest remove;
  remove.topics = {{.topic_id = topic}};
  remove.topics[0].name.reset();
  CHECK(cluster.client(0).ask<DeleteTopicsResponse>(remove).responses.at(0).error_code ==
        ErrorCode::kNone);
  // The folders go by way of a new name.
  for (int32_t i = 0; i < kPartitions; ++i) {
    const std::string folder = "t-" + std::to_string(i);
    CHECK_FALSE(cluster.disk.exists("/a/" + folder));
    CHECK_FALSE(cluster.disk.exists("/b/" + folder));
  }
  topic = cluster.create_topic();
  const auto partition = cluster.node->shard(0).replicas().find(topic, 7);
  REQUIRE(partition);
  CHECK((*partition)->log().start_offset() == 0);
  CHECK((*partition)->log().end_offset() == 0);
}

TEST_CASE("logs move between directories while they are written to, also over a restart") {
  const auto shards = GENERATE(1, 3);
  const auto flush_messages = GENERATE("1", "1000000");
  Cluster cluster(static_cast<size_t>(shards), 5,
                  {{"log.flush.interval.messages", flush_messages}});
  const Uuid topic = cluster.create_topic();
  CHECK(produce(cluster, topic) == kAllFine);
  cluster.node->start_background();
  AlterReplicaLogDirsRequest request;
  request.dirs = {{.path = "/b", .topics = {{.name = "t"}}},
                  {.path = "/none", .topics = {{.name = "t", .partitions = {0}}}}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    request.dirs[0].topics[0].partitions.push_back(i);
  }
  const auto begun = cluster.client(0).ask<AlterReplicaLogDirsResponse>(request);
  for (const auto& partition : begun.results.at(0).partitions) {
    CHECK(partition.error_code == ErrorCode::kNone);
  }
  CHECK(begun.results.at(1).partitions.at(0).error_code == ErrorCode::kLogDirNotFound);
  int64_t rounds = 1;
  const bool restarts = GENERATE(false, true);
  if (restarts) {
    CHECK(produce(cluster, topic) == kAllFine);
    ++rounds;
    REQUIRE(cluster.node->close());
    cluster.start(static_cast<size_t>(shards), 7);
    cluster.node->start_background();
  }
  for (int i = 0; i < 20; ++i) {  // never quiet
    CHECK(produce(cluster, topic) == kAllFine);
    ++rounds;
    cluster.pass(1);
  }
  const auto ends = high_watermarks(cluster, topic);
  for (int32_t i = 0; i < kPartitions; ++i) {
    CHECK(dir_of(cluster, i) == "/b");
    CHECK(cluster.node->image()->partition("t", i)->directories ==
          std::vector<Uuid>{cluster.node->dirs()[1]->directory_id()});
    CHECK(ends[static_cast<size_t>(i)] == rounds * (i + 1));
  }
  REQUIRE(cluster.node->close());
  cluster.start(1, 8);
  CHECK(high_watermarks(cluster, topic) == ends);
}
