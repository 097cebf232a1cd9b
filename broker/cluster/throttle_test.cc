#include "broker/cluster/throttle.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;
using replication::ConfigResource;
using replication::ConfigsImage;

namespace {

replication::MetadataImage with_replicas(const std::string& value) {
  replication::MetadataImage image;
  auto configs = std::make_shared<ConfigsImage>();
  (*configs)[{ConfigResource::kTopic, "t"}]["leader.replication.throttled.replicas"] = value;
  image.configs = configs;
  return image;
}

BrokerConfig with_rate(const std::string& bytes_per_second) {
  auto config = BrokerConfig::make({});
  config->follow({}, {{"leader.replication.throttled.rate", bytes_per_second}});
  return *config;
}

Throttle of_leaders() {
  return Throttle("leader.replication.throttled.rate", "leader.replication.throttled.replicas");
}

}  // namespace

TEST_CASE("bytes per second are kept to, whatever the pace in which they come") {
  Throttle throttle("leader.replication.throttled.rate", nullptr);
  const BrokerConfig config = with_rate("1000");
  int64_t moved = 0;
  for (int64_t now = 0; now < 60'000; now += 50) {
    if (!throttle.is_exceeded(config, now)) {
      throttle.record(700, now);
      moved += 700;
    }
  }
  CHECK(moved > 55'000);
  CHECK(moved < 75'000);  // with what the first seconds may take ahead
}

TEST_CASE("a rate of nothing lets one share pass and no more") {
  Throttle throttle("leader.replication.throttled.rate", nullptr);
  const BrokerConfig config = with_rate("0");
  CHECK_FALSE(throttle.is_exceeded(config, 0));
  throttle.record(1, 0);
  CHECK(throttle.is_exceeded(config, 1));
  CHECK_FALSE(throttle.is_exceeded(config, 20'000));
}

TEST_CASE("only the replicas that the topic names are bounded, and only where there is a rate") {
  auto config = BrokerConfig::make({});
  const auto image = with_replicas("0:1,2:1,1:7");
  CHECK_FALSE(of_leaders().applies(*config, image, "t", 0));
  config->follow({}, {{"leader.replication.throttled.rate", "1000"}});
  CHECK(of_leaders().applies(*config, image, "t", 0));
  CHECK_FALSE(of_leaders().applies(*config, image, "t", 1));
  CHECK(of_leaders().applies(*config, image, "t", 2));
  CHECK_FALSE(of_leaders().applies(*config, image, "u", 0));
  CHECK(of_leaders().applies(*config, with_replicas("*"), "t", 1));
}
