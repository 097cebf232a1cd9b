// Classic groups in virtual time, and the offsets of all.
#include "broker/coordinator/group/group_shard.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/group/classic_fixture.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;

TEST_CASE("one member joins, syncs and is stable") {
  ClassicFixture f;
  const auto member = f.stable_member();
  CHECK(member.generation_id == 1);
  CHECK(member.leader == member.member_id);
  CHECK(member.members.size() == 1);
  CHECK(f.state() == "Stable");
  CHECK(f.heartbeat(member) == ErrorCode::kNone);
}

TEST_CASE("a dynamic member is first given an id to come back with (KIP-394)") {
  ClassicFixture f;
  const auto first = f.join("", {}, 10'000, "m", true);
  REQUIRE(first->response->error_code == ErrorCode::kMemberIdRequired);
  const auto second = f.join(first->response->member_id, {}, 10'000, "m", true);
  CHECK(second->response->error_code == ErrorCode::kNone);
}

TEST_CASE("an id that was given out and not used is forgotten after the session timeout") {
  ClassicFixture f;
  const auto first = f.join("", {}, 10'000, "m", true);
  f.advance(10'001);
  CHECK(f.join(first->response->member_id)->response->error_code == ErrorCode::kUnknownMemberId);
}

TEST_CASE("a second member makes the first rejoin, and both get their part from the leader") {
  ClassicFixture f;
  const auto a = f.stable_member();
  const auto b = f.join("");
  CHECK_FALSE(b->response.has_value());
  CHECK(f.heartbeat(a) == ErrorCode::kRebalanceInProgress);
  const auto a2 = f.join(a.member_id);
  REQUIRE(a2->response.has_value());
  REQUIRE(b->response.has_value());
  CHECK(a2->response->generation_id == 2);
  CHECK(a2->response->members.size() == 2);
  CHECK(b->response->members.empty());
  const auto b_sync = f.sync(*b->response);
  CHECK_FALSE(b_sync->response.has_value());
  f.sync(*a2->response, {{a.member_id, "p0"}, {b->response->member_id, "p1"}});
  CHECK(b_sync->response->assignment.view() == "p1");
}

TEST_CASE("a member silent for its session timeout is fenced") {
  ClassicFixture f;
  const auto a = f.stable_member();
  f.advance(9'999);
  CHECK(f.state() == "Stable");
  f.advance(1);
  CHECK(f.state() == "Empty");
  CHECK(f.heartbeat(a) == ErrorCode::kUnknownMemberId);
}

TEST_CASE("heartbeats keep a member alive") {
  ClassicFixture f;
  const auto a = f.stable_member();
  for (int i = 0; i < 5; ++i) {
    f.advance(9'000);
    CHECK(f.heartbeat(a) == ErrorCode::kNone);
  }
}

TEST_CASE("who does not rejoin within the rebalance timeout is out") {
  ClassicFixture f;
  const auto a = f.stable_member();
  const auto b = f.join("");
  // The old member shows signs of life, but does not rejoin.
  for (int i = 0; i < 4; ++i) {
    f.advance(7'400);
    f.heartbeat(a);
  }
  CHECK_FALSE(b->response.has_value());
  f.advance(500);
  REQUIRE(b->response.has_value());
  CHECK(b->response->members.size() == 1);
}

TEST_CASE("a new group waits a moment for more members (KIP-134)") {
  ClassicFixture f;
  f.config.classic.initial_rebalance_delay_ms = 3'000;
  const auto a = f.join("");
  f.advance(2'000);
  const auto b = f.join("");
  CHECK_FALSE(a->response.has_value());
  f.advance(1'000);
  CHECK_FALSE(a->response.has_value());
  f.advance(3'000);
  REQUIRE(a->response.has_value());
  CHECK(b->response->generation_id == 1);
}

TEST_CASE(
    "members that come one upon the other are one generation, without an initial delay, too") {
  ClassicFixture f;
  f.config.classic.gather_ms = 2;
  const auto a = f.join("");
  f.advance(1);
  const auto b = f.join("");
  f.advance(1);
  CHECK_FALSE(a->response.has_value());
  f.advance(1);
  REQUIRE(a->response.has_value());
  CHECK(a->response->members.size() == 2);
  CHECK(b->response->generation_id == 1);
}

TEST_CASE("a member that was told its id is waited for") {
  ClassicFixture f;
  f.config.classic.gather_ms = 2;
  const auto a = f.join("");
  f.advance(1);
  const auto told = f.join("", {}, 10'000, "m", true);
  REQUIRE(told->response->error_code == ErrorCode::kMemberIdRequired);
  f.advance(1);
  CHECK_FALSE(a->response.has_value());
  const auto b = f.join(told->response->member_id, {}, 10'000, "m", true);
  f.advance(2);
  REQUIRE(a->response.has_value());
  CHECK(a->response->members.size() == 2);
}

TEST_CASE("leaving makes the rest rebalance, the last one leaves an empty group") {
  ClassicFixture f;
  const auto a = f.stable_member();
  CHECK(f.shard->leave("g", a.member_id, {}, f.now) == ErrorCode::kNone);
  CHECK(f.state() == "Empty");
  CHECK(f.shard->leave("g", a.member_id, {}, f.now) == ErrorCode::kUnknownMemberId);
}

TEST_CASE(
    "a static member that restarts takes its old place without a rebalance (KIP-345, KIP-814)") {
  ClassicFixture f;
  const auto joined = f.join("", "i1");
  const auto first = *joined->response;
  f.sync(first, {{first.member_id, "mine"}});
  const auto again = f.join("", "i1");
  REQUIRE(again->response.has_value());
  CHECK(again->response->generation_id == first.generation_id);
  CHECK(again->response->member_id != first.member_id);
  CHECK(again->response->skip_assignment);
  CHECK(f.sync(*again->response)->response->assignment.view() == "mine");
  HeartbeatRequest old;
  old.group_id = "g";
  old.member_id = first.member_id;
  old.group_instance_id = "i1";
  old.generation_id = first.generation_id;
  CHECK(f.shard->heartbeat(old, f.now) == ErrorCode::kFencedInstanceId);
}

TEST_CASE("members without a common protocol cannot be in one group") {
  ClassicFixture f;
  f.stable_member();
  JoinGroupRequest request;
  request.group_id = "g";
  request.session_timeout_ms = 10'000;
  request.protocol_type = "consumer";
  request.protocols = {{.name = "other"}};
  ErrorCode code = ErrorCode::kNone;
  f.shard->join(request, {}, f.now,
                [&](JoinGroupResponse response) { code = response.error_code; });
  CHECK(code == ErrorCode::kInconsistentGroupProtocol);
}

TEST_CASE("session timeouts outside the broker's range are refused") {
  ClassicFixture f;
  CHECK(f.join("", {}, 5'999)->response->error_code == ErrorCode::kInvalidSessionTimeout);
  CHECK(f.join("", {}, 1'800'001)->response->error_code == ErrorCode::kInvalidSessionTimeout);
}

TEST_CASE("the assignment is told only once it is committed") {
  ClassicFixture f;
  const auto joined = f.join("");
  f.sink.hold = true;
  const auto synced = f.sync(*joined->response, {{joined->response->member_id, "x"}});
  CHECK_FALSE(synced->response.has_value());
  f.sink.held.at(0)(ErrorCode::kNone);
  CHECK(synced->response->assignment.view() == "x");
}

TEST_CASE("an assignment that cannot be written is not told, and the group rebalances") {
  ClassicFixture f;
  const auto joined = f.join("");
  f.sink.failure = ErrorCode::kCoordinatorNotAvailable;
  const auto synced = f.sync(*joined->response, {{joined->response->member_id, "x"}});
  CHECK(synced->response->error_code == ErrorCode::kCoordinatorNotAvailable);
  CHECK(f.state() == "PreparingRebalance");
}

TEST_CASE(
    "offsets are taken from members of this generation, or from outside while the group is empty") {
  ClassicFixture f;
  CHECK(f.commit("", -1, 5) == ErrorCode::kNone);
  const auto a = f.stable_member();
  CHECK(f.commit("", -1, 6) == ErrorCode::kUnknownMemberId);
  CHECK(f.commit(a.member_id, a.generation_id + 1, 6) == ErrorCode::kIllegalGeneration);
  CHECK(f.commit("x", a.generation_id, 6) == ErrorCode::kUnknownMemberId);
  CHECK(f.commit(a.member_id, a.generation_id, 7) == ErrorCode::kNone);
  CHECK(f.shard->offsets().group("g")->at({"t", 0}).offset == 7);
}

TEST_CASE("a shard fed only with the records knows the same") {
  ClassicFixture f;
  const auto a = f.stable_member();
  f.commit(a.member_id, a.generation_id, 42);
  FakeSink other_sink;
  const auto made = f.make_shard(other_sink);
  GroupShard& other = *made;
  other_sink.shard = &other;
  for (const auto& record : f.sink.log) {
    other.replay(record, {}, 0);
  }
  other.loaded(f.now);
  const auto mine = f.shard->describe("g");
  const auto theirs = other.describe("g");
  REQUIRE(theirs.has_value());
  CHECK(*theirs == *mine);
  CHECK(other.offsets().group("g")->at({"t", 0}).offset == 42);
  HeartbeatRequest beat;
  beat.group_id = "g";
  beat.member_id = a.member_id;
  beat.generation_id = a.generation_id;
  CHECK(other.heartbeat(beat, f.now) == ErrorCode::kNone);
}

namespace {

struct TransactionFixture : ClassicFixture {
  ErrorCode commit_in(int64_t producer, int64_t offset, int32_t generation = -1,
                      const std::string& member = "") {
    CommitRequest request{"g", member, {}, generation, {{"t", 0, {}}}};
    request.offsets[0].value.offset = offset;
    request.offsets[0].value.commit_timestamp = now;
    ErrorCode result = ErrorCode::kUnknownServerError;
    request.transaction = {{producer, 0}, {}};
    shard->commit(request, now, [&](ErrorCode code) { result = code; });
    return result;
  }
  int64_t committed() const {
    const auto* const offsets = shard->offsets().group("g");
    return offsets == nullptr ? -1 : offsets->at({"t", 0}).offset;
  }
  bool is_pending() const { return shard->offsets().has_pending("g", {"t", 0}); }
};

}  // namespace

TEST_CASE("offsets in a transaction count from its commit on (KIP-98)") {
  TransactionFixture f;
  REQUIRE(f.commit_in(5, 10) == ErrorCode::kNone);
  CHECK(f.committed() == -1);
  CHECK(f.is_pending());
  CHECK(f.state() == "Empty");
  SECTION("commit") {
    f.shard->end_transaction(6, true);  // somebody else's
    CHECK(f.is_pending());
    f.shard->end_transaction(5, true);
    CHECK(f.committed() == 10);
    CHECK_FALSE(f.is_pending());
  }
  SECTION("abort") {
    f.shard->end_transaction(5, false);
    CHECK(f.committed() == -1);
    CHECK_FALSE(f.is_pending());
    CHECK(f.state() == "none");
  }
  SECTION("what was committed after it stays") {
    REQUIRE(f.commit("", -1, 7) == ErrorCode::kNone);
    f.shard->end_transaction(5, true);
    CHECK(f.committed() == 7);
  }
  SECTION("of two transactions the later offset counts, in whatever order they end") {
    REQUIRE(f.commit_in(6, 12) == ErrorCode::kNone);
    f.shard->end_transaction(6, true);
    CHECK(f.is_pending());
    f.shard->end_transaction(5, true);
    CHECK(f.committed() == 12);
  }
  SECTION("a deleted group takes them with it") {
    f.shard->remove_group("g", [](ErrorCode code) { CHECK(code == ErrorCode::kNone); });
    CHECK_FALSE(f.is_pending());
    f.shard->end_transaction(5, true);
    CHECK(f.committed() == -1);
  }
  SECTION("a shard fed only with the records knows the same") {
    FakeSink other_sink;
    const auto made = f.make_shard(other_sink);
    GroupShard& other = *made;
    f.sink.replay_into(other, 0);
    CHECK(other.offsets().has_pending("g", {"t", 0}));
    other.end_transaction(5, true);
    CHECK(other.offsets().group("g")->at({"t", 0}).offset == 10);
  }
}

TEST_CASE("what a transaction is about to change does not expire") {
  TransactionFixture f;
  REQUIRE(f.commit("", -1, 7) == ErrorCode::kNone);
  REQUIRE(f.commit_in(5, 10) == ErrorCode::kNone);
  f.advance(f.config.offsets_retention_ms + f.config.expiry_check_ms + 1);
  CHECK(f.committed() == 7);
  f.shard->end_transaction(5, false);
  f.advance(f.config.expiry_check_ms + 1);
  CHECK(f.committed() == -1);
}

TEST_CASE("a transaction need not say who commits, but a wrong member or generation is refused") {
  TransactionFixture f;
  CHECK(f.commit_in(5, 1, 3, "m") == ErrorCode::kIllegalGeneration);
  const auto member = f.stable_member();
  CHECK(f.commit_in(5, 1) == ErrorCode::kNone);
  CHECK(f.commit_in(5, 2, member.generation_id, member.member_id) == ErrorCode::kNone);
  CHECK(f.commit_in(5, 3, member.generation_id + 1, member.member_id) ==
        ErrorCode::kIllegalGeneration);
  CHECK(f.commit_in(5, 3, member.generation_id, "stranger") == ErrorCode::kUnknownMemberId);
}

TEST_CASE("only empty groups are deleted, with their offsets") {
  ClassicFixture f;
  const auto remove = [&] {
    ErrorCode code = ErrorCode::kNone;
    f.shard->remove_group("g", [&](ErrorCode result) { code = result; });
    return code;
  };
  CHECK(remove() == ErrorCode::kGroupIdNotFound);
  const auto a = f.stable_member();
  f.commit(a.member_id, a.generation_id, 1);
  CHECK(remove() == ErrorCode::kNonEmptyGroup);
  f.shard->leave("g", a.member_id, {}, f.now);
  CHECK(remove() == ErrorCode::kNone);
  CHECK(f.state() == "none");
  CHECK(f.shard->offsets().group("g") == nullptr);
}

TEST_CASE("offsets are deleted where no member reads (KIP-496)") {
  ClassicFixture f;
  const auto remove = [&](const std::string& topic) {
    OffsetDeleteRequest request;
    request.group_id = "g";
    request.topics = {{.name = topic, .partitions = {{.partition_index = 0}}}};
    OffsetDeleteResponse response;
    f.shard->remove_offsets(request, [&](OffsetDeleteResponse told) { response = told; });
    return response;
  };
  CHECK(remove("t").error_code == ErrorCode::kGroupIdNotFound);
  REQUIRE(f.commit("", -1, 5) == ErrorCode::kNone);
  CHECK(remove("other").topics.at(0).partitions.at(0).error_code == ErrorCode::kNone);
  CHECK(f.shard->offsets().group("g") != nullptr);
  SECTION("of nobody") {
    CHECK(remove("t").topics.at(0).partitions.at(0).error_code == ErrorCode::kNone);
    CHECK(f.shard->offsets().group("g") == nullptr);
  }
  SECTION("of members") {
    const auto subscribed = GENERATE("t", "other");
    // Version 0 of a consumer's subscription: one topic, no user data.
    std::string metadata("\0\0\0\0\0\1\0", 7);
    metadata += static_cast<char>(std::string_view(subscribed).size());
    metadata += subscribed + std::string("\xff\xff\xff\xff", 4);
    const auto joined = f.join("", {}, 10'000, metadata);
    REQUIRE(joined->response);
    f.sync(*joined->response, {{joined->response->member_id, "all"}});
    const bool reads = std::string_view(subscribed) == "t";
    CHECK(remove("t").topics.at(0).partitions.at(0).error_code ==
          (reads ? ErrorCode::kGroupSubscribedToTopic : ErrorCode::kNone));
    CHECK((f.shard->offsets().group("g") != nullptr) == reads);
  }
}

TEST_CASE("offsets expire only after the group has been empty for the retention") {
  ClassicFixture f;
  f.config.offsets_retention_ms = 3'600'000;
  const auto a = f.stable_member();
  f.commit(a.member_id, a.generation_id, 1);
  for (int i = 0; i < 1000; ++i) {
    f.advance(9'000);
    REQUIRE(f.heartbeat(a) == ErrorCode::kNone);
  }
  CHECK(f.shard->offsets().group("g") != nullptr);
  f.shard->leave("g", a.member_id, {}, f.now);
  f.advance(3'000'000);
  CHECK(f.shard->offsets().group("g") != nullptr);
  f.advance(1'300'000);
  CHECK(f.shard->offsets().group("g") == nullptr);
  CHECK(f.state() == "none");
}

TEST_CASE("who waits for a group that another broker takes over is told") {
  ClassicFixture f;
  f.stable_member();
  const auto b = f.join("");
  CHECK_FALSE(b->response.has_value());
  f.shard->unloaded();
  REQUIRE(b->response.has_value());
  CHECK(b->response->error_code == ErrorCode::kNotCoordinator);
}
