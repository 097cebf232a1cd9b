#include "broker/cluster/departed_brokers.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;
using replication::BrokerImage;
using replication::MetadataImage;

TEST_CASE("a broker that was fenced is told of a little longer, unless it asked for it") {
  const auto image = [](bool fenced, bool stops) {
    MetadataImage made;
    made.brokers[1] = BrokerImage{.id = 1, .fenced = fenced, .in_controlled_shutdown = stops};
    return made;
  };
  const auto up = image(false, false), stopping = image(false, true), down = image(true, false);
  DepartedBrokers departed;
  departed.follow(MetadataImage(), down, 1'000);
  CHECK_FALSE(departed.has(1, 1'000, 100));  // it was never there
  departed.follow(down, up, 2'000);
  departed.follow(up, down, 3'000);
  CHECK(departed.has(1, 3'099, 100));
  CHECK_FALSE(departed.has(1, 3'100, 100));
  departed.follow(down, down, 3'050);
  CHECK_FALSE(departed.has(1, 3'100, 100));
  departed.follow(down, up, 4'000);
  departed.follow(up, stopping, 4'000);
  departed.follow(stopping, down, 4'000);
  CHECK_FALSE(departed.has(1, 4'000, 100));
}
