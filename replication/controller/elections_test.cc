#include "replication/controller/elections.h"

#include <catch2/catch.hpp>

#include "replication/controller/directories.h"

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

MetadataImage with_brokers(MetadataImage image, std::vector<int32_t> alive,
                           std::vector<int32_t> fenced = {}) {
  image.features["eligible.leader.replicas.version"] = 1;
  for (const int32_t id : alive) {
    image.brokers[id] = {.id = id, .epoch = 10 + id, .fenced = false};
  }
  for (const int32_t id : fenced) {
    image.brokers[id] = {.id = id, .epoch = 10 + id, .fenced = true};
  }
  return image;
}

PartitionImage after(const MetadataImage& image, const std::vector<Bytes>& records) {
  Delta delta(image);
  for (const auto& record : records) {
    REQUIRE(delta.apply(record, 1, 1).has_value());
  }
  return *delta.build()->partition("t", 0);
}

// The partition after broker 1 has come back.
PartitionImage elected(const MetadataImage& given) {
  const auto image = with_brokers(given, {}, {1, 2});
  return after(image, with_broker(image, 1, {.back = {1}}));
}

using Ids = std::vector<int32_t>;

}  // namespace

TEST_CASE("a broker takes back the partitions that its stop left without a leader") {
  const auto now =
      elected(with_partition({.replicas = {1}, .isr = {1}, .leader = -1, .leader_epoch = 4}));
  CHECK(now.leader == 1);
  CHECK(now.leader_epoch == 5);
  CHECK(now.isr == Ids{1});
}

TEST_CASE("with an empty ISR an eligible or last known replica becomes the ISR (KIP-966)") {
  const auto now = elected(with_partition({.replicas = {1, 2}, .elr = {2, 1}, .leader = -1}));
  CHECK(now.leader == 1);
  CHECK(now.isr == Ids{1});
  CHECK(elected(with_partition({.replicas = {1}, .last_known_elr = {1}, .leader = -1})).leader ==
        1);
}

TEST_CASE("a replica that may lack records does not lead, and a leader is not replaced") {
  CHECK(elected(with_partition({.replicas = {1, 2}, .isr = {2}, .leader = -1})).leader == -1);
  CHECK(elected(with_partition({.replicas = {1, 2}, .elr = {2}, .leader = -1})).leader == -1);
  CHECK(elected(with_partition({.replicas = {1, 2}, .isr = {1, 2}, .leader = 2})).leader == 2);
}

TEST_CASE("a fenced broker leaves the ISR and another member leads") {
  const auto image = with_brokers(
      with_partition({.replicas = {1, 2, 3}, .isr = {1, 2, 3}, .leader = 1}), {1, 2, 3});
  const auto now = after(image, without_broker(image, 1, {.gone = {1}}));
  CHECK(now.leader == 2);
  CHECK(now.isr == Ids{2, 3});
  CHECK(now.leader_epoch == 1);
  CHECK(now.partition_epoch == 1);
}

TEST_CASE("the last of the ISR stays eligible, but not after an unclean stop") {
  const auto image =
      with_brokers(with_partition({.replicas = {1, 2}, .isr = {1}, .leader = 1}), {1, 2});
  const auto fenced = after(image, without_broker(image, 1, {.gone = {1}}));
  CHECK(fenced.leader == -1);
  CHECK(fenced.isr.empty());
  CHECK(fenced.elr == Ids{1});
  const auto lost = after(image, without_broker(image, 1, {.gone = {1}, .lost = {1}}));
  CHECK(lost.leader == -1);
  CHECK(lost.elr.empty());
  CHECK(lost.last_known_elr == Ids{1});
}

TEST_CASE("the first replica leads again once it is in sync and not fenced") {
  PartitionImage partition{.replicas = {1, 2}, .isr = {2, 1}, .leader = 2};
  const auto image = with_brokers(with_partition(partition), {1, 2});
  const auto now = after(image, prefer_first_replicas(image, 10));
  CHECK(now.leader == 1);
  CHECK(now.isr == Ids{2, 1});
  CHECK(prefer_first_replicas(image, 0).empty());
  CHECK(prefer_first_replicas(with_brokers(with_partition(partition), {2}, {1}), 10).empty());
  partition.isr = {2};
  CHECK(prefer_first_replicas(with_brokers(with_partition(partition), {1, 2}), 10).empty());
}

TEST_CASE("a failed directory takes the leader of its partitions, and only there") {
  const Uuid here{1, 1};
  const Uuid gone{2, 2};
  PartitionImage partition{
      .replicas = {1}, .isr = {1}, .directories = {gone}, .leader = 1, .leader_epoch = 4};
  const auto image = with_brokers(with_partition(partition), {1});
  CHECK(after(image, take_offline(image, 1, {gone})).leader == -1);
  CHECK(take_offline(image, 1, {here}).empty());
  partition.directories = {Uuid{}};  // not assigned yet
  CHECK(take_offline(with_partition(partition), 1, {gone}).empty());
}

TEST_CASE("a moved replica is assigned to its new directory, once") {
  const Uuid old_home{1, 1};
  const Uuid new_home{2, 2};
  const auto image = with_brokers(
      with_partition(
          {.replicas = {3, 1}, .isr = {1}, .directories = {{9, 9}, old_home}, .leader = 1}),
      {1, 3});
  const auto records = assign_directory(image, 1, *image.topic("t"), 0, new_home);
  REQUIRE(records.size() == 1);
  Delta delta(image);
  REQUIRE(delta.apply(records.front(), 1, 1));
  const auto after = delta.build();
  CHECK(after->partition("t", 0)->directories == std::vector<Uuid>{{9, 9}, new_home});
  CHECK(after->partition("t", 0)->leader == 1);
  CHECK(assign_directory(*after, 1, *after->topic("t"), 0, new_home).empty());
  CHECK(assign_directory(*after, 7, *after->topic("t"), 0, new_home).empty());
}
