#include "replication/controller/placement.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace klamm;
using namespace klamm::replication;

namespace {

MetadataImage with_brokers(const std::map<int32_t, std::string>& racks) {
  MetadataImage image;
  for (const auto& [id, rack] : racks) {
    image.brokers[id] = {.id = id, .fenced = false};
    if (!rack.empty()) {
      image.brokers[id].rack = rack;
    }
  }
  return image;
}

std::vector<std::vector<int32_t>> place(const MetadataImage& image, int32_t count, size_t factor,
                                        uint64_t seed) {
  storage::SimRandom random(seed);
  const auto placed = place_replicas(image, count, factor, random);
  REQUIRE(placed);
  return *placed;
}

}  // namespace

TEST_CASE("replicas lie in different racks, leaders and followers are spread evenly") {
  const auto image = with_brokers({{1, "a"}, {2, "a"}, {3, "b"}, {4, "b"}});
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::map<int32_t, int> leads;
    std::map<int32_t, int> follows;
    for (const auto& replicas : place(image, 8, 2, seed)) {
      REQUIRE(replicas.size() == 2);
      CHECK((replicas[0] <= 2) != (replicas[1] <= 2));
      ++leads[replicas[0]];
      ++follows[replicas[1]];
    }
    for (int32_t id = 1; id <= 4; ++id) {
      CHECK(leads[id] == 2);
      CHECK(follows[id] == 2);
    }
  }
}

TEST_CASE("no partition has two replicas on one broker, however uneven the racks") {
  const auto image = with_brokers({{1, "a"}, {2, "b"}, {3, "b"}, {4, "b"}, {5, ""}});
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (const auto& replicas : place(image, 15, 4, seed)) {
      CHECK(std::set<int32_t>(replicas.begin(), replicas.end()).size() == 4);
    }
  }
}

TEST_CASE("placement begins at a random broker") {
  const auto image = with_brokers({{1, ""}, {2, ""}, {3, ""}});
  std::set<int32_t> first;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    first.insert(place(image, 1, 1, seed)[0][0]);
  }
  CHECK(first == std::set<int32_t>{1, 2, 3});
}

TEST_CASE("fenced brokers get replicas only where the others do not suffice, and never lead") {
  auto image = with_brokers({{1, ""}, {2, ""}, {3, ""}});
  image.brokers[3].fenced = true;
  for (const auto& replicas : place(image, 6, 2, 4)) {
    CHECK((replicas[0] != 3 && replicas[1] != 3));
  }
  for (const auto& replicas : place(image, 6, 3, 4)) {
    CHECK(replicas[2] == 3);
  }
  image.brokers[1].fenced = image.brokers[2].fenced = true;
  storage::SimRandom random(1);
  CHECK(place_replicas(image, 1, 1, random).error().code == ErrorCode::kInvalidReplicationFactor);
  CHECK(place_replicas(image, 1, 4, random).error().code == ErrorCode::kInvalidReplicationFactor);
}
