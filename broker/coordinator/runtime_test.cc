#include "broker/coordinator/runtime.h"

#include <catch2/catch.hpp>

using klamm::broker::coordinator_partition;

// Measured on the reference: which of 50 partitions holds a key.
TEST_CASE("keys go to the partitions that Kafka puts them in") {
  CHECK(coordinator_partition("g-classic", 50) == 18);
  CHECK(coordinator_partition("g-consumer", 50) == 32);
  CHECK(coordinator_partition("tx-1", 50) == 20);
  CHECK(coordinator_partition("", 50) == 0);
}
