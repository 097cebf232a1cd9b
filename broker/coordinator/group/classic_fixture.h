#pragma once
// For tests of classic groups: what members say to the group "g", and what they were told.
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/coordinator/group/group_fixture.h"

namespace klamm::broker {

using namespace protocol;  // NOLINT: of tests

struct Joined {
  std::optional<JoinGroupResponse> response;
};
struct Synced {
  std::optional<SyncGroupResponse> response;
};

struct ClassicFixture : GroupFixture {
  std::shared_ptr<Joined> join(const std::string& member, std::optional<std::string> instance = {},
                               int32_t session = 10'000, const std::string& metadata = "m",
                               bool needs_id = false) {
    JoinGroupRequest request;
    request.group_id = "g";
    request.member_id = member;
    request.group_instance_id = std::move(instance);
    request.session_timeout_ms = session;
    request.rebalance_timeout_ms = 30'000;
    request.protocol_type = "consumer";
    request.protocols = {{.name = "range", .metadata = Bytes::copy_of(metadata)},
                         {.name = "rr", .metadata = Bytes::copy_of(metadata)}};
    auto joined = std::make_shared<Joined>();
    shard->join(request,
                {.client_id = "c",
                 .client_host = "/h",
                 .needs_known_member_id = needs_id,
                 .can_skip_assignment = true},
                now,
                [joined](JoinGroupResponse response) { joined->response = std::move(response); });
    return joined;
  }
  std::shared_ptr<Synced> sync(const JoinGroupResponse& as,
                               const std::map<std::string, std::string>& assignments = {}) {
    SyncGroupRequest request;
    request.group_id = "g";
    request.member_id = as.member_id;
    request.generation_id = as.generation_id;
    for (const auto& [member, assignment] : assignments) {
      request.assignments.push_back(
          {.member_id = member, .assignment = Bytes::copy_of(assignment)});
    }
    auto synced = std::make_shared<Synced>();
    shard->sync(request, now,
                [synced](SyncGroupResponse response) { synced->response = std::move(response); });
    return synced;
  }
  ErrorCode heartbeat(const JoinGroupResponse& as) {
    HeartbeatRequest request;
    request.group_id = "g";
    request.member_id = as.member_id;
    request.generation_id = as.generation_id;
    return shard->heartbeat(request, now);
  }
  ErrorCode commit(const std::string& member, int32_t generation, int64_t offset) {
    CommitRequest request{"g", member, {}, generation, {{"t", 0, {}}}};
    request.offsets[0].value.offset = offset;
    request.offsets[0].value.commit_timestamp = now;
    ErrorCode result = ErrorCode::kUnknownServerError;
    shard->commit(request, now, [&](ErrorCode code) { result = code; });
    return result;
  }
  std::string state() const {
    const auto described = shard->describe("g");
    return described ? described->group_state : "none";
  }
  // One member, stable.
  JoinGroupResponse stable_member() {
    const auto joined = join("");
    REQUIRE(joined->response.has_value());
    REQUIRE(sync(*joined->response, {{joined->response->member_id, "all"}})
                ->response->assignment.view() == "all");
    return *joined->response;
  }
};

}  // namespace klamm::broker
