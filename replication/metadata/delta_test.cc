#include "replication/metadata/delta.h"

#include <catch2/catch.hpp>

#include "protocol/generated/clear_elr_record.h"
#include "protocol/generated/config_record.h"
#include "protocol/generated/partition_change_record.h"
#include "protocol/generated/partition_record.h"
#include "protocol/generated/remove_topic_record.h"
#include "protocol/generated/topic_record.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

const Uuid kId{1, 2};

ImagePtr applied(const MetadataImage& base, const std::vector<Bytes>& records) {
  Delta delta(base);
  int64_t offset = base.offset;
  for (const auto& record : records) {
    REQUIRE(delta.apply(record, ++offset, 1).has_value());
  }
  return delta.build();
}

std::vector<Bytes> topic_with_partition() {
  protocol::TopicRecord topic;
  topic.name = "t";
  topic.topic_id = kId;
  protocol::PartitionRecord partition;
  partition.partition_id = 0;
  partition.topic_id = kId;
  partition.replicas = {1};
  partition.isr = {1};
  partition.leader = 1;
  partition.leader_epoch = 4;
  partition.partition_epoch = 9;
  return {to_record(topic, 0), to_record(partition, 2)};
}

}  // namespace

TEST_CASE("records make an image, and the image before stays as it was") {
  const MetadataImage empty;
  const auto image = applied(empty, topic_with_partition());
  CHECK(image->topic("t")->id == kId);
  CHECK(image->partition("t", 0)->leader_epoch == 4);
  CHECK(image->partition("t", 1) == nullptr);
  CHECK(empty.topic("t") == nullptr);
  CHECK(image->offset == 1);
}

TEST_CASE("a new leader raises the leader epoch, any change the partition epoch") {
  const auto image = applied(MetadataImage(), topic_with_partition());
  protocol::PartitionChangeRecord change;
  change.partition_id = 0;
  change.topic_id = kId;
  change.isr = std::vector<int32_t>{1, 2};
  const auto second = applied(*image, {to_record(change, 2)});
  CHECK(second->partition("t", 0)->leader_epoch == 4);
  CHECK(second->partition("t", 0)->partition_epoch == 10);
  change.leader = 2;
  const auto third = applied(*second, {to_record(change, 2)});
  CHECK(third->partition("t", 0)->leader_epoch == 5);
  CHECK(image->partition("t", 0)->leader == 1);
}

TEST_CASE("a removed topic takes its configuration along") {
  protocol::ConfigRecord config;
  config.resource_type = static_cast<int8_t>(ConfigResource::kTopic);
  config.resource_name = "t";
  config.name = "retention.ms";
  config.value = "5";
  auto records = topic_with_partition();
  records.push_back(to_record(config, 0));
  const auto image = applied(MetadataImage(), records);
  CHECK(image->config(ConfigResource::kTopic, "t").at("retention.ms") == "5");
  protocol::RemoveTopicRecord remove;
  remove.topic_id = kId;
  const auto after = applied(*image, {to_record(remove, 0)});
  CHECK(after->topic("t") == nullptr);
  CHECK(after->config(ConfigResource::kTopic, "t").empty());
}

TEST_CASE("malformed and dangling records are errors, unknown types are not") {
  const MetadataImage empty;
  Delta delta(empty);
  CHECK_FALSE(delta.apply(Bytes::copy_of("\x01"), 0, 0).has_value());
  CHECK_FALSE(delta.apply(topic_with_partition()[1], 0, 0).has_value());
  const std::string unknown("\x01\x63\x00", 3);
  CHECK(delta.apply(Bytes::copy_of(std::string_view(unknown)), 0, 0).has_value());
}

TEST_CASE("a resource whose last override goes is none any more") {
  protocol::ConfigRecord record;
  record.resource_type = static_cast<int8_t>(ConfigResource::kTopic);
  record.resource_name = "t";
  record.name = "retention.ms";
  record.value = "5";
  const auto with = applied(MetadataImage(), {to_record(record, 0)});
  CHECK(with->config(ConfigResource::kTopic, "t").at("retention.ms") == "5");
  record.value.reset();
  const auto without = applied(*with, {to_record(record, 0)});
  CHECK(without->configs->empty());
}

TEST_CASE("eligible leaders are forgotten, of one topic or of all") {
  auto records = topic_with_partition();
  protocol::PartitionChangeRecord change;
  change.partition_id = 0;
  change.topic_id = kId;
  change.eligible_leader_replicas = std::vector<int32_t>{2};
  change.last_known_elr = std::vector<int32_t>{3};
  records.push_back(to_record(change, 2));
  const auto image = applied(MetadataImage(), records);
  REQUIRE(image->partition("t", 0)->elr == std::vector<int32_t>{2});
  protocol::ClearElrRecord clear;
  clear.topic_name = "another";
  CHECK(applied(*image, {to_record(clear, 0)})->partition("t", 0)->elr.size() == 1);
  for (const char* name : {"t", ""}) {
    clear.topic_name = name;
    const auto cleared = applied(*image, {to_record(clear, 0)});
    CHECK(cleared->partition("t", 0)->elr.empty());
    CHECK(cleared->partition("t", 0)->last_known_elr.empty());
  }
}
