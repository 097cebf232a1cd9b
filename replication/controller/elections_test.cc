#include "replication/controller/elections.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::replication;

namespace {

MetadataImage with_partition(PartitionImage partition) {
  auto topic = std::make_shared<TopicImage>();
  topic->name = "t";
  topic->id = {0, 7};
  topic->partitions[0] = std::move(partition);
  auto topics = std::make_shared<TopicsImage>();
  topics->by_name["t"] = topic;
  topics->by_id[topic->id] = topic;
  MetadataImage image;
  image.topics = topics;
  return image;
}

// The partition after the election of broker 1.
PartitionImage elected(const MetadataImage& image) {
  Delta delta(image);
  for (const auto& record : elect_for(image, 1, {})) {
    REQUIRE(delta.apply(record, 1, 1).has_value());
  }
  return *delta.build()->partition("t", 0);
}

}  // namespace

TEST_CASE("a broker takes back the partitions that its stop left without a leader") {
  const auto after =
      elected(with_partition({.replicas = {1}, .isr = {1}, .leader = -1, .leader_epoch = 4}));
  CHECK(after.leader == 1);
  CHECK(after.leader_epoch == 5);
  CHECK(after.isr == std::vector<int32_t>{1});
}

TEST_CASE("with an empty ISR an eligible replica becomes the ISR (KIP-966)") {
  const auto after = elected(with_partition({.replicas = {1, 2}, .elr = {2, 1}, .leader = -1}));
  CHECK(after.leader == 1);
  CHECK(after.isr == std::vector<int32_t>{1});
  CHECK(after.elr == std::vector<int32_t>{2});
}

TEST_CASE("a replica that may lack records does not lead, and a leader is not replaced") {
  CHECK(elect_for(with_partition({.replicas = {1, 2}, .isr = {2}, .leader = -1}), 1, {}).empty());
  CHECK(elect_for(with_partition({.replicas = {1, 2}, .elr = {2}, .leader = -1}), 1, {}).empty());
  CHECK(elect_for(with_partition({.replicas = {1, 2}, .isr = {1, 2}, .leader = 2}), 1, {}).empty());
}

TEST_CASE("a failed directory takes the leader of its partitions, and only there") {
  const Uuid here{1, 1};
  const Uuid gone{2, 2};
  PartitionImage partition{
      .replicas = {1}, .isr = {1}, .directories = {gone}, .leader = 1, .leader_epoch = 4};
  const auto records = take_offline(with_partition(partition), 1, {here});
  REQUIRE(records.size() == 1);
  Delta delta(with_partition(partition));
  REQUIRE(delta.apply(records.front(), 1, 1));
  const auto after = *delta.build()->partition("t", 0);
  CHECK(after.leader == -1);
  CHECK(after.isr == std::vector<int32_t>{1});
  CHECK(elect_for(with_partition(after), 1, {here}).empty());
  CHECK(elect_for(with_partition(after), 1, {gone}).size() == 1);
  CHECK(take_offline(with_partition(partition), 1, {gone}).empty());
  partition.directories = {Uuid{}};  // not assigned yet
  CHECK(take_offline(with_partition(partition), 1, {here}).empty());
}

TEST_CASE("a moved replica is assigned to its new directory, once") {
  const Uuid old_home{1, 1};
  const Uuid new_home{2, 2};
  const auto image = with_partition(
      {.replicas = {3, 1}, .isr = {1}, .directories = {{9, 9}, old_home}, .leader = 1});
  const auto records = assign_directory(image, 1, "t", 0, new_home);
  REQUIRE(records.size() == 1);
  Delta delta(image);
  REQUIRE(delta.apply(records.front(), 1, 1));
  const auto after = delta.build();
  CHECK(after->partition("t", 0)->directories == std::vector<Uuid>{{9, 9}, new_home});
  CHECK(after->partition("t", 0)->leader == 1);
  CHECK(assign_directory(*after, 1, "t", 0, new_home).empty());
  CHECK(assign_directory(*after, 7, "t", 0, new_home).empty());
}
