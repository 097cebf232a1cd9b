#include "broker/fetch_sessions.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::broker;
using klamm::protocol::FetchRequest;

namespace {

FetchRequest request(int32_t id, int32_t epoch, std::vector<int32_t> partitions = {}) {
  FetchRequest fetch;
  fetch.session_id = id;
  fetch.session_epoch = epoch;
  if (!partitions.empty()) {
    auto& topic = fetch.topics.emplace_back();
    topic.topic = "t";
    for (const int32_t partition : partitions) {
      topic.partitions.push_back({.partition = partition});
    }
  }
  return fetch;
}

}  // namespace

TEST_CASE("a session remembers its partitions and counts its epochs (KIP-227)") {
  FetchSessions sessions(10);
  storage::SimRandom random(1);
  const auto first = sessions.plan(request(0, 0, {0, 1}), random, 0);
  REQUIRE(first->session != nullptr);
  const int32_t id = first->session->id;
  const auto second = sessions.plan(request(id, 1, {2}), random, 0);
  REQUIRE(second.has_value());
  CHECK(second->incremental);
  CHECK(second->session->items.size() == 3);
  CHECK(sessions.plan(request(id, 1), random, 0).error().code ==
        ErrorCode::kInvalidFetchSessionEpoch);
  CHECK(sessions.plan(request(id + 1, 1), random, 0).error().code ==
        ErrorCode::kFetchSessionIdNotFound);
}

TEST_CASE("forgotten partitions are out, epoch -1 ends the session") {
  FetchSessions sessions(10);
  storage::SimRandom random(1);
  const int32_t id = sessions.plan(request(0, 0, {0, 1}), random, 0)->session->id;
  FetchRequest forget = request(id, 1);
  forget.forgotten_topics_data.push_back({.topic = "t", .partitions = {0}});
  CHECK(sessions.plan(forget, random, 0)->session->items.size() == 1);
  CHECK(sessions.plan(request(id, -1, {0}), random, 0)->session == nullptr);
  CHECK(sessions.size() == 0);
}

TEST_CASE("a full cache serves without sessions until one has been idle") {
  FetchSessions sessions(1);
  storage::SimRandom random(1);
  CHECK(sessions.plan(request(0, 0, {0}), random, 0)->session != nullptr);
  CHECK(sessions.plan(request(0, 0, {0}), random, 1'000)->session == nullptr);
  CHECK(sessions.plan(request(0, 0, {0}), random, 200'000)->session != nullptr);
  CHECK(sessions.size() == 1);
}
