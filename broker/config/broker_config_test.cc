#include "broker/config/broker_config.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;

TEST_CASE("with nothing given a working single node comes out") {
  const auto config = BrokerConfig::make({});
  REQUIRE(config.has_value());
  CHECK(config->node_id() == 1);
  REQUIRE(config->listeners().size() == 1);
  CHECK(config->listeners()[0].port == 9092);
  CHECK(config->advertised()[0].host == "localhost");
  CHECK(config->number("offsets.topic.replication.factor") == 1);
  CHECK(config->number("socket.request.max.bytes") == 104857600);
}

TEST_CASE("one variable does not throw the defaults away") {
  const auto config = BrokerConfig::make({{"auto.create.topics.enable", "false"}});
  REQUIRE(config.has_value());
  CHECK_FALSE(config->flag("auto.create.topics.enable"));
  CHECK(config->get("log.dirs") == "/tmp/kraft-combined-logs");
}

TEST_CASE("the environment is read by the rules of the official image") {
  const auto config = config_from_environment(
      {"KAFKA_A_B=1", "KAFKA_A__B=2", "KAFKA_A___B=3", "KAFKA_A____B=4", "KAFKA_A_____B=5",
       "KAFKA_A______B=6", "KAFKA_KAFKA_X=7", "KAFKA_EMPTY=", "KAFKA_HEAP_OPTS=no", "MY_KAFKA_X=no",
       "kafka_x=no", "KAFKA_CAMEL_Case=8"});
  CHECK(config == ConfigMap{{"a.b", "1"},
                            {"a_b", "2"},
                            {"a-b", "3"},
                            {"a-.b", "4"},
                            {"a-_b", "5"},
                            {"a--b", "6"},
                            {"kafka.x", "7"},
                            {"empty", ""},
                            {"camel.case", "8"}});
}

TEST_CASE("unknown keys are kept, bad values are refused") {
  CHECK(BrokerConfig::make({{"host", "x"}})->unknown_keys() == std::vector<std::string>{"host"});
  CHECK(BrokerConfig::make({{"num.partitions", "none"}}).error().code == ErrorCode::kInvalidConfig);
  CHECK(BrokerConfig::make({{"num.partitions", "0"}}).error().code == ErrorCode::kInvalidConfig);
  CHECK(BrokerConfig::make({{"listeners", "SSL://:9092"}}).error().code ==
        ErrorCode::kInvalidConfig);
  CHECK(BrokerConfig::make({{"listeners", "NOPE"}}).error().code == ErrorCode::kInvalidConfig);
  CHECK(BrokerConfig::make({{"advertised.listeners", "PLAINTEXT://0.0.0.0:9092"}}).error().code ==
        ErrorCode::kInvalidConfig);
  CHECK(BrokerConfig::make({{"log.flush.interval.messages", "9223372036854775807"}}).has_value());
}

TEST_CASE("listeners follow the advertised ones when only those are given") {
  const auto config = BrokerConfig::make({{"advertised.listeners", "PLAINTEXT://example:19092"}});
  REQUIRE(config.has_value());
  CHECK(config->listeners()[0].port == 19092);
  CHECK(config->listeners()[0].host == "0.0.0.0");
}

TEST_CASE("topic settings come from the topic, else from the broker, else from Kafka's default") {
  const auto config =
      *BrokerConfig::make({{"log.retention.hours", "2"}, {"message.max.bytes", "5000"}});
  const auto log = resolve_log_config(config, {{"segment.bytes", "2097152"},
                                               {"cleanup.policy", "compact,delete"},
                                               {"compression.type", "zstd"}});
  CHECK(log.retention_ms == 7'200'000);
  CHECK(log.max_message_bytes == 5000);
  CHECK(log.segment_bytes == 2097152);
  CHECK((log.cleanup_compact && log.cleanup_delete));
  CHECK(log.compression == protocol::Compression::kZstd);
  CHECK(log.segment_ms == 604'800'000);
}

TEST_CASE("topic overrides are checked by their tables") {
  CHECK(check_topic_config({{"retention.ms", "-1"}}).has_value());
  CHECK(check_topic_config({{"compression.gzip.level", "-1"}}).has_value());
  for (const ConfigMap& bad :
       {ConfigMap{{"retention.ms", "-2"}}, ConfigMap{{"retention.ms", "x"}},
        ConfigMap{{"cleanup.policy", "keep"}}, ConfigMap{{"no.such.key", "1"}},
        ConfigMap{{"segment.bytes", "10"}}, ConfigMap{{"preallocate", "maybe"}},
        ConfigMap{{"compression.gzip.level", "10"}}}) {
    CHECK(check_topic_config(bad).error().code == ErrorCode::kInvalidConfig);
  }
}
