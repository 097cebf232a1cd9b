#include "replication/controller/reassignment.h"

#include <catch2/catch.hpp>

#include "replication/controller/alter_partition.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

using Ids = std::vector<int32_t>;

// One topic "t" of one partition, brokers 1 to 5 alive but for the fenced ones.
struct Case {
  ImagePtr image;

  explicit Case(PartitionImage partition, const Ids& fenced = {}) {
    auto topic = std::make_shared<TopicImage>();
    topic->name = "t";
    topic->id = {0, 7};
    partition.directories.assign(partition.replicas.size(), Uuid{9, 9});
    topic->partitions[0] = std::move(partition);
    auto topics = std::make_shared<TopicsImage>();
    topics->by_name["t"] = topics->by_id[topic->id] = topic;
    MetadataImage made;
    made.topics = topics;
    made.features["eligible.leader.replicas.version"] = 1;
    for (int32_t id = 1; id <= 5; ++id) {
      made.brokers[id] = {.id = id, .epoch = 10 + id, .fenced = false};
    }
    for (const int32_t id : fenced) {
      made.brokers[id].fenced = true;
    }
    image = std::make_shared<MetadataImage>(made);
  }
  void allow_unclean() {
    auto configs = std::make_shared<ConfigsImage>();
    (*configs)[{ConfigResource::kTopic, "t"}]["unclean.leader.election.enable"] = "true";
    auto made = *image;
    made.configs = configs;
    image = std::make_shared<MetadataImage>(made);
  }
  void apply(const Bytes& record) {
    Delta delta(*image);
    REQUIRE(delta.apply(record, 1, 1));
    image = delta.build();
  }
  ErrorCode move(const std::optional<Ids>& target, bool may_change_factor = true) {
    const auto record = reassign_partition(*image, "t", 0, target, may_change_factor, {});
    if (record && *record) {
      apply(**record);
    }
    return record ? ErrorCode::kNone : record.error().code;
  }
  ErrorCode set_isr(const Ids& isr) {
    protocol::AlterPartitionRequest request;
    request.broker_id = now().leader;
    request.broker_epoch = 10 + request.broker_id;
    auto& topic = request.topics.emplace_back();
    topic.topic_id = {0, 7};
    auto& partition = topic.partitions.emplace_back();
    partition.leader_epoch = now().leader_epoch;
    partition.partition_epoch = now().partition_epoch;
    for (const int32_t id : isr) {
      partition.new_isr_with_epochs.push_back({.broker_id = id, .broker_epoch = 10 + id});
    }
    auto altered = alter_partitions(*image, request, 3);
    for (const auto& record : altered.records) {
      apply(record);
    }
    return altered.response.topics[0].partitions[0].error_code;
  }
  ErrorCode elect(ElectionType type) {
    const auto record = elect_leader(*image, "t", 0, type);
    if (record) {
      apply(*record);
    }
    return record ? ErrorCode::kNone : record.error().code;
  }
  const PartitionImage& now() const { return *image->partition("t", 0); }
};

}  // namespace

TEST_CASE("a partition moves once its new replicas are in sync, in a new leader epoch") {
  Case c({.replicas = {1, 2, 3}, .isr = {1, 2, 3}, .leader = 1, .leader_epoch = 5});
  REQUIRE(c.move(Ids{1, 4, 5}) == ErrorCode::kNone);
  CHECK(c.now().replicas == Ids{1, 4, 5, 2, 3});
  CHECK(c.now().adding == Ids{4, 5});
  CHECK(c.now().removing == Ids{2, 3});
  CHECK(c.now().directories.size() == 5);
  CHECK(c.now().directories[0] == Uuid{9, 9});
  CHECK(c.now().directories[1] == Uuid{});
  CHECK(c.now().leader_epoch == 5);
  REQUIRE(c.set_isr({1, 2, 3, 4}) == ErrorCode::kNone);
  CHECK(is_reassigned(c.now()));
  REQUIRE(c.set_isr({1, 2, 3, 4, 5}) == ErrorCode::kNone);
  CHECK_FALSE(is_reassigned(c.now()));
  CHECK(c.now().replicas == Ids{1, 4, 5});
  CHECK(c.now().isr == Ids{1, 4, 5});
  CHECK(c.now().directories.size() == 3);
  CHECK(c.now().leader == 1);
  CHECK(c.now().leader_epoch == 6);
}

TEST_CASE("a leader that is moved away is told that another one is elected") {
  Case c({.replicas = {1, 2}, .isr = {1, 2}, .leader = 1, .leader_epoch = 5});
  REQUIRE(c.move(Ids{3, 2}) == ErrorCode::kNone);
  CHECK(c.set_isr({1, 2, 3}) == ErrorCode::kNewLeaderElected);
  CHECK(c.now().replicas == Ids{3, 2});
  CHECK(c.now().leader == 3);
  CHECK(c.now().leader_epoch == 6);
}

TEST_CASE("a mere change of order needs no waiting, nor does giving up replicas in sync") {
  Case c({.replicas = {1, 2, 3}, .isr = {1, 2, 3}, .leader = 1, .leader_epoch = 5});
  REQUIRE(c.move(Ids{3, 2, 1}) == ErrorCode::kNone);
  CHECK(c.now().replicas == Ids{3, 2, 1});
  CHECK(c.now().leader_epoch == 5);
  REQUIRE(c.move(Ids{3, 2}) == ErrorCode::kNone);
  CHECK(c.now().replicas == Ids{3, 2});
  CHECK(c.now().isr.size() == 2);
  CHECK(c.now().leader != 1);
}

TEST_CASE("a smaller set of replicas waits for all that stay to be in sync") {
  Case c({.replicas = {1, 2, 3, 4}, .isr = {1, 2}, .leader = 1}, {3});
  REQUIRE(c.move(Ids{1, 3}) == ErrorCode::kNone);
  CHECK(is_reassigned(c.now()));
  CHECK(c.now().replicas == Ids{1, 3, 2, 4});
}

TEST_CASE("a move is called off, as if it had not been") {
  Case c({.replicas = {1, 2}, .isr = {1, 2}, .leader = 1});
  CHECK(c.move(std::nullopt) == ErrorCode::kNoReassignmentInProgress);
  REQUIRE(c.move(Ids{3, 4}) == ErrorCode::kNone);
  REQUIRE(c.set_isr({1, 2, 3}) == ErrorCode::kNone);
  REQUIRE(c.move(std::nullopt) == ErrorCode::kNone);
  CHECK(c.now().replicas == Ids{1, 2});
  CHECK(c.now().isr == Ids{1, 2});
  CHECK_FALSE(is_reassigned(c.now()));
}

TEST_CASE("a move is not called off where only the new replicas have the records") {
  const PartitionImage moving{
      .replicas = {3, 1}, .isr = {3}, .adding = {3}, .removing = {1}, .leader = 3};
  Case refused(moving);
  CHECK(refused.move(std::nullopt) == ErrorCode::kInvalidReplicaAssignment);
  Case allowed(moving);
  allowed.allow_unclean();
  REQUIRE(allowed.move(std::nullopt) == ErrorCode::kNone);
  CHECK(allowed.now().replicas == Ids{1});
  CHECK(allowed.now().leader == 1);
}

TEST_CASE("impossible targets get Kafka's errors") {
  Case c({.replicas = {1, 2}, .isr = {1, 2}, .leader = 1});
  CHECK(c.move(Ids{}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(c.move(Ids{1, 1}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(c.move(Ids{1, 77}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(c.move(Ids{1, 2, 3}, false) == ErrorCode::kInvalidReplicationFactor);
  CHECK(c.move(Ids{4, 5}, false) == ErrorCode::kNone);
  CHECK(c.move(Ids{1, 5}, false) == ErrorCode::kNone);
  CHECK(reassign_partition(*c.image, "u", 0, Ids{1}, true, {}).error().code ==
        ErrorCode::kUnknownTopicOrPartition);
  CHECK(reassign_partition(*c.image, "t", 1, Ids{1}, true, {}).error().code ==
        ErrorCode::kUnknownTopicOrPartition);
}

TEST_CASE("the preferred leader is elected when it is in sync") {
  Case c({.replicas = {1, 2}, .isr = {2}, .leader = 2});
  CHECK(c.elect(ElectionType::kPreferred) == ErrorCode::kPreferredLeaderNotAvailable);
  REQUIRE(c.set_isr({2, 1}) == ErrorCode::kNone);
  REQUIRE(c.elect(ElectionType::kPreferred) == ErrorCode::kNone);
  CHECK(c.now().leader == 1);
  CHECK(c.elect(ElectionType::kPreferred) == ErrorCode::kElectionNotNeeded);
}

TEST_CASE("an unclean election takes who is alive, and says that it must recover") {
  Case c({.replicas = {1, 2}, .isr = {1}, .leader = -1}, {1});
  REQUIRE(c.elect(ElectionType::kUnclean) == ErrorCode::kNone);
  CHECK(c.now().leader == 2);
  CHECK(c.now().isr == Ids{2});
  CHECK(c.now().recovery_state == 1);
  CHECK(c.elect(ElectionType::kUnclean) == ErrorCode::kElectionNotNeeded);
  Case dead({.replicas = {1, 2}, .isr = {1}, .leader = -1}, {1, 2});
  CHECK(dead.elect(ElectionType::kUnclean) == ErrorCode::kEligibleLeadersNotAvailable);
}
