#include "replication/controller/topics.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::replication;

namespace {

MetadataImage two_brokers() {
  MetadataImage image;
  image.brokers[1] = {.id = 1, .fenced = false};
  image.brokers[2] = {.id = 2, .fenced = false};
  image.brokers[3] = {.id = 3, .fenced = true};
  return image;
}

ErrorCode create(const NewTopic& topic, MetadataImage image = two_brokers()) {
  storage::SimRandom random(1);
  const auto result = create_topic(image, topic, {}, random);
  return result ? ErrorCode::kNone : result.error().code;
}

MetadataImage with_topic(const NewTopic& topic) {
  storage::SimRandom random(1);
  const MetadataImage base = two_brokers();
  Delta delta(base);
  const auto change = create_topic(base, topic, {}, random);
  for (const auto& record : change->records) {
    REQUIRE(delta.apply(record, 1, 1).has_value());
  }
  return *delta.build();
}

}  // namespace

TEST_CASE("topic names are Kafka's") {
  CHECK(check_topic_name("a.b_c-1").has_value());
  CHECK(check_topic_name(std::string(249, 'a')).has_value());
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"),
        std::string("\xC3\xA4"), std::string(250, 'a')}) {
    CHECK(check_topic_name(name).error().code == ErrorCode::kInvalidTopicException);
  }
}

TEST_CASE("a topic gets its partitions on the brokers that are up") {
  const auto image = with_topic({.name = "t", .partitions = 4, .replication_factor = 2});
  for (int32_t i = 0; i < 4; ++i) {
    auto replicas = image.partition("t", i)->replicas;
    CHECK(image.partition("t", i)->leader == replicas.front());
    CHECK(image.partition("t", i)->isr == replicas);
    std::sort(replicas.begin(), replicas.end());
    CHECK(replicas == std::vector<int32_t>{1, 2});
  }
}

TEST_CASE("a fenced broker may hold a replica, out of sync") {
  const auto image = with_topic({.name = "t", .replication_factor = 3});
  CHECK(image.partition("t", 0)->replicas.size() == 3);
  CHECK(image.partition("t", 0)->isr.size() == 2);
  const auto by_hand = with_topic({.name = "t", .assignments = {{0, {3, 2}}}});
  CHECK(by_hand.partition("t", 0)->isr == std::vector<int32_t>{2});
  CHECK(by_hand.partition("t", 0)->leader == 2);
}

TEST_CASE("impossible wishes get Kafka's error codes") {
  CHECK(create({.name = "t", .partitions = 0}) == ErrorCode::kInvalidPartitions);
  CHECK(create({.name = "t", .partitions = -5}) == ErrorCode::kInvalidPartitions);
  CHECK(create({.name = "t", .replication_factor = 0}) == ErrorCode::kInvalidReplicationFactor);
  CHECK(create({.name = "t", .replication_factor = 4}) == ErrorCode::kInvalidReplicationFactor);
  CHECK(create({.name = "t", .assignments = {{0, {3}}}}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(create({.name = "t", .partitions = 1, .assignments = {{0, {1}}}}) ==
        ErrorCode::kInvalidRequest);
  CHECK(create({.name = "t", .assignments = {{1, {1}}}}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(create({.name = "t", .assignments = {{0, {1, 1}}}}) ==
        ErrorCode::kInvalidReplicaAssignment);
  CHECK(create({.name = "t", .assignments = {{0, {7}}}}) == ErrorCode::kInvalidReplicaAssignment);
  CHECK(create({.name = "t", .assignments = {{0, {2}}}}) == ErrorCode::kNone);
}

TEST_CASE("names that exist or differ only by dot and underscore are refused") {
  CHECK(create({.name = "a.b"}, with_topic({.name = "a.b"})) == ErrorCode::kTopicAlreadyExists);
  CHECK(create({.name = "a_b"}, with_topic({.name = "a.b"})) == ErrorCode::kInvalidTopicException);
}

TEST_CASE("a topic grows but does not shrink") {
  const auto image = with_topic({.name = "t", .partitions = 2});
  const auto& topic = *image.topic("t");
  storage::SimRandom random(1);
  CHECK(grow_topic(image, topic, 2, {}, {}, random).error().code == ErrorCode::kInvalidPartitions);
  CHECK(grow_topic(image, topic, 1, {}, {}, random).error().code == ErrorCode::kInvalidPartitions);
  CHECK(grow_topic(image, topic, 5, {}, {}, random)->size() == 3);
}
