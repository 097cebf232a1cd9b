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

TEST_CASE("a topic gets its partitions round robin on the brokers that are up") {
  const auto image = with_topic({.name = "t", .partitions = 4, .replication_factor = 2});
  CHECK(image.partition("t", 0)->replicas == std::vector<int32_t>{1, 2});
  CHECK(image.partition("t", 1)->replicas == std::vector<int32_t>{2, 1});
  CHECK(image.partition("t", 3)->leader == 2);
}

TEST_CASE("impossible wishes get Kafka's error codes") {
  CHECK(create({.name = "t", .partitions = 0}) == ErrorCode::kInvalidPartitions);
  CHECK(create({.name = "t", .partitions = -5}) == ErrorCode::kInvalidPartitions);
  CHECK(create({.name = "t", .replication_factor = 0}) == ErrorCode::kInvalidReplicationFactor);
  CHECK(create({.name = "t", .replication_factor = 3}) == ErrorCode::kInvalidReplicationFactor);
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
  CHECK(grow_topic(image, topic, 2, {}, {}).error().code == ErrorCode::kInvalidPartitions);
  CHECK(grow_topic(image, topic, 1, {}, {}).error().code == ErrorCode::kInvalidPartitions);
  CHECK(grow_topic(image, topic, 5, {}, {})->size() == 3);
}
