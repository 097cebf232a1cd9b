#include "broker/config/config_changes.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;
using replication::ConfigResource;

namespace {

// A topic "t" with these overrides.
replication::MetadataImage image_of(const ConfigMap& overrides) {
  replication::MetadataImage image;
  auto topics = std::make_shared<replication::TopicsImage>();
  auto topic = std::make_shared<replication::TopicImage>();
  topic->name = "t";
  topic->id = protocol::Uuid{1, 2};
  topics->by_id[topic->id] = topic;
  topics->by_name["t"] = topic;
  image.topics = topics;
  auto configs = std::make_shared<replication::ConfigsImage>();
  (*configs)[{ConfigResource::kTopic, "t"}] = overrides;
  image.configs = configs;
  return image;
}

ConfigChange change_of(std::vector<KeyChange> keys, bool replaces = false) {
  return {
      .type = ConfigResource::kTopic, .name = "t", .keys = std::move(keys), .replaces = replaces};
}

const BrokerConfig& defaults() {
  static const auto config = BrokerConfig::make({});
  return *config;
}

}  // namespace

TEST_CASE("keys are set and removed, and what changes nothing makes no record") {
  const auto image = image_of({{"retention.ms", "5"}, {"segment.ms", "7"}});
  const auto updates = decide(change_of({{"retention.ms", ConfigOperation::kDelete, std::nullopt},
                                         {"segment.ms", ConfigOperation::kSet, "7"},
                                         {"flush.ms", ConfigOperation::kSet, "9"}}),
                              image, defaults());
  REQUIRE(updates.has_value());
  CHECK(*updates == ConfigUpdates{{"retention.ms", std::nullopt}, {"flush.ms", "9"}});
}

TEST_CASE("lists grow from their default, shrink, and hold each value once") {
  const auto append = change_of({{"cleanup.policy", ConfigOperation::kAppend, "compact,delete"}});
  CHECK(*decide(append, image_of({}), defaults()) ==
        ConfigUpdates{{"cleanup.policy", "delete,compact"}});
  const auto subtract = change_of({{"cleanup.policy", ConfigOperation::kSubtract, "delete"}});
  CHECK(*decide(subtract, image_of({{"cleanup.policy", "delete,compact"}}), defaults()) ==
        ConfigUpdates{{"cleanup.policy", "compact"}});
  const auto number = change_of({{"retention.ms", ConfigOperation::kAppend, "1"}});
  CHECK(decide(number, image_of({}), defaults()).error().code == ErrorCode::kInvalidConfig);
}

TEST_CASE("a replacement takes away what it does not name") {
  const auto image = image_of({{"retention.ms", "5"}, {"segment.ms", "7"}});
  const auto updates =
      decide(change_of({{"segment.ms", ConfigOperation::kSet, "8"}}, true), image, defaults());
  CHECK(*updates == ConfigUpdates{{"retention.ms", std::nullopt}, {"segment.ms", "8"}});
}

TEST_CASE("a change is refused as a whole") {
  const auto bad = change_of(
      {{"segment.ms", ConfigOperation::kSet, "8"}, {"retention.ms", ConfigOperation::kSet, "x"}});
  CHECK(decide(bad, image_of({}), defaults()).error().code == ErrorCode::kInvalidConfig);
  auto nowhere = change_of({{"segment.ms", ConfigOperation::kSet, "8"}});
  nowhere.name = "u";
  CHECK(decide(nowhere, image_of({}), defaults()).error().code ==
        ErrorCode::kUnknownTopicOrPartition);
}

TEST_CASE("what is set at run time goes before the file, for one broker before for all") {
  auto config = BrokerConfig::make({{"log.retention.ms", "1000"}});
  config->follow({{"log.retention.ms", "2000"}, {"node.id", "9"}, {"num.io.threads", "x"}},
                 {{"log.retention.ms", "3000"}});
  CHECK(config->number("log.retention.ms") == 3000);
  CHECK(config->settings("log.retention.ms").size() == 3);
  CHECK(config->node_id() == 1);                 // only a start can change it
  CHECK(config->number("num.io.threads") == 8);  // what cannot be is passed over
  config->follow({{"log.retention.ms", "2000"}}, {});
  CHECK(config->number("log.retention.ms") == 2000);
  config->follow({}, {});
  CHECK(config->number("log.retention.ms") == 1000);
}
