// Consumer groups (KIP-848) in virtual time. After every step a second shard fed only with the
// records must know the same.
#include <catch2/catch.hpp>

#include "broker/coordinator/group/classic/consumer_protocol.h"
#include "broker/coordinator/group/group_fixture.h"
#include "protocol/base/writer.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;

namespace {

constexpr const char* kGroup = "g";

// A member as a client sees it: what it was told last, and what it therefore owns.
struct Client {
  std::string id;
  int32_t epoch = 0;
  Assignment owned;
  std::optional<std::string> instance_id;
  std::vector<std::string> topics;
  std::string regex;
};

struct ConsumerFixture : GroupFixture {
  ConsumerGroupHeartbeatResponse send(const ConsumerGroupHeartbeatRequest& request,
                                      int16_t version = 1) {
    std::optional<ConsumerGroupHeartbeatResponse> answer;
    shard->consumer_heartbeat(
        request, {"client", "/host", version}, now,
        [&](ConsumerGroupHeartbeatResponse response) { answer = std::move(response); });
    REQUIRE(answer.has_value());
    check_twin();
    return *answer;
  }
  void check_twin() {
    const auto other = twin();
    const auto* mine = shard->consumer_state(kGroup);
    const auto* theirs = other->consumer_state(kGroup);
    REQUIRE((mine == nullptr) == (theirs == nullptr));
    if (mine != nullptr) {
      CHECK(*mine == *theirs);
      check_owners(*mine);
    }
  }
  // A partition is nobody's or one member's.
  static void check_owners(const ConsumerState& group) {
    std::set<std::pair<Uuid, int32_t>> owned;
    for (const auto& [id, member] : group.members()) {
      for (const auto* each : {&member->assigned, &member->pending_revocation}) {
        for (const auto& [topic, partitions] : *each) {
          for (const auto& [partition, epoch] : partitions) {
            CHECK(owned.insert({topic, partition}).second);
            CHECK(epoch <= std::max(member->epoch, 0));
          }
        }
      }
    }
  }
  ConsumerGroupHeartbeatRequest request_of(const Client& client) {
    ConsumerGroupHeartbeatRequest request;
    request.group_id = kGroup;
    request.member_id = client.id;
    request.member_epoch = client.epoch;
    request.instance_id = client.instance_id;
    request.topic_partitions.emplace();
    for (const auto& [topic, partitions] : client.owned) {
      request.topic_partitions->push_back(
          {.topic_id = topic, .partitions = {partitions.begin(), partitions.end()}});
    }
    return request;
  }
  // A heartbeat that says everything; the client then owns what it is told.
  ErrorCode beat(Client& client) {
    auto request = request_of(client);
    request.rebalance_timeout_ms = 30'000;
    request.subscribed_topic_names = client.topics;
    if (!client.regex.empty()) {
      request.subscribed_topic_regex = client.regex;
    }
    const auto response = send(request);
    if (response.error_code == ErrorCode::kNone) {
      client.epoch = response.member_epoch;
      take(client, response);
    }
    return response.error_code;
  }
  static void take(Client& client, const ConsumerGroupHeartbeatResponse& response) {
    if (response.assignment) {
      client.owned.clear();
      for (const auto& topic : response.assignment->topic_partitions) {
        client.owned[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
      }
    }
  }
  Client join(const std::string& id, std::vector<std::string> topics) {
    Client client{id};
    client.topics = std::move(topics);
    REQUIRE(beat(client) == ErrorCode::kNone);
    return client;
  }
  ErrorCode leave(const Client& client, int32_t epoch = kLeaveEpoch) {
    auto request = request_of(client);
    request.member_epoch = epoch;
    return send(request).error_code;
  }
  // Everybody speaks until nothing changes.
  void settle(std::vector<Client*> clients) {
    for (int round = 0; round < 10; ++round) {
      for (Client* client : clients) {
        REQUIRE(beat(*client) == ErrorCode::kNone);
      }
    }
    CHECK(state() == "Stable");
  }
  std::string state() const {
    const auto described = shard->describe_consumer_group(kGroup);
    return described ? described->group_state : "none";
  }
  ErrorCode commit(const std::string& member, int32_t epoch, const Uuid& topic, int32_t partition) {
    CommitRequest request{kGroup, member, {}, epoch, {{"t", partition, {}}}};
    request.offsets[0].value.topic_id = topic;
    ErrorCode result = ErrorCode::kUnknownServerError;
    shard->commit(request, now, [&](ErrorCode code) { result = code; });
    return result;
  }

  // ---- classic members ----
  static Bytes subscription(const std::vector<std::string>& topics) {
    ConsumerProtocolSubscription content;
    content.topics = topics;
    Writer out;
    out.fixed<int16_t>(1);
    content.encode(out, 1);
    return out.flatten();
  }
  JoinGroupResponse join_classic(const std::string& id, const std::vector<std::string>& topics) {
    JoinGroupRequest request;
    request.group_id = kGroup;
    request.member_id = id;
    request.session_timeout_ms = 10'000;
    request.rebalance_timeout_ms = 30'000;
    request.protocol_type = "consumer";
    request.protocols = {{.name = "range", .metadata = subscription(topics)}};
    std::optional<JoinGroupResponse> answer;
    shard->join(request, {.client_id = "c", .client_host = "/h"}, now,
                [&](JoinGroupResponse response) { answer = std::move(response); });
    check_twin();
    return answer.value_or(JoinGroupResponse{.error_code = ErrorCode::kRequestTimedOut});
  }
  SyncGroupResponse sync_classic(const JoinGroupResponse& as, const Assignment& given = {}) {
    SyncGroupRequest request;
    request.group_id = kGroup;
    request.member_id = as.member_id;
    request.generation_id = as.generation_id;
    if (!given.empty()) {
      request.assignments.push_back(
          {.member_id = as.member_id, .assignment = write_assignment(given, 1, *image)});
    }
    std::optional<SyncGroupResponse> answer;
    shard->sync(request, now, [&](SyncGroupResponse response) { answer = std::move(response); });
    return answer.value_or(SyncGroupResponse{.error_code = ErrorCode::kRequestTimedOut});
  }
  ErrorCode beat_classic(const JoinGroupResponse& as) {
    HeartbeatRequest request;
    request.group_id = kGroup;
    request.member_id = as.member_id;
    request.generation_id = as.generation_id;
    return shard->heartbeat(request, now);
  }
  size_t partitions_of(const SyncGroupResponse& synced) const {
    const auto assignment = read_assignment(synced.assignment, *image);
    size_t count = 0;
    for (const auto& [topic, partitions] : assignment.value()) {
      count += partitions.size();
    }
    return count;
  }
};

size_t count(const Client& client) {
  size_t partitions = 0;
  for (const auto& [topic, of_topic] : client.owned) {
    partitions += of_topic.size();
  }
  return partitions;
}

}  // namespace

TEST_CASE("the first member has everything with its first heartbeat") {
  ConsumerFixture f;
  f.topic("t", 4);
  const Client a = f.join("a", {"t"});
  CHECK(count(a) == 4);
  CHECK(a.epoch == 2);
  CHECK(f.state() == "Stable");
}

TEST_CASE("a partition changes hands only after it was given back") {
  ConsumerFixture f;
  f.topic("t", 4);
  Client a = f.join("a", {"t"});
  Client b = f.join("b", {"t"});
  CHECK(count(b) == 0);
  CHECK(b.epoch == 3);
  const Client a_before = a;
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(count(a) == 2);
  CHECK(a.epoch == 2);  // until it has given back
  REQUIRE(f.beat(b) == ErrorCode::kNone);
  CHECK(count(b) == 0);
  Client late = a_before;  // still owns all
  REQUIRE(f.beat(late) == ErrorCode::kNone);
  CHECK(late.epoch == 2);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(a.epoch == 3);
  REQUIRE(f.beat(b) == ErrorCode::kNone);
  CHECK(count(b) == 2);
  CHECK(f.state() == "Stable");
}

TEST_CASE("a member with a wrong epoch is fenced, but for the one whose answer was lost") {
  ConsumerFixture f;
  f.topic("t", 2);
  Client a = f.join("a", {"t"});
  f.topic("t", 3);
  const Client before = a;
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  REQUIRE(a.epoch == 3);
  Client lost = before;
  CHECK(f.beat(lost) == ErrorCode::kNone);
  Client ahead = a;
  ahead.epoch = 9;
  CHECK(f.beat(ahead) == ErrorCode::kFencedMemberEpoch);
  Client strange = before;
  strange.owned[Uuid{9, 9}] = {0};
  CHECK(f.beat(strange) == ErrorCode::kFencedMemberEpoch);
  Client unknown = a;
  unknown.id = "nobody";
  CHECK(f.beat(unknown) == ErrorCode::kUnknownMemberId);
}

TEST_CASE("a silent member is out after its session, and the others take over") {
  ConsumerFixture f;
  f.topic("t", 2);
  Client a = f.join("a", {"t"});
  Client b = f.join("b", {"t"});
  f.settle({&a, &b});
  f.advance(30'000);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  f.advance(20'000);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(count(a) == 2);
  CHECK(f.beat(b) == ErrorCode::kUnknownMemberId);
}

TEST_CASE("a member that does not give back in its rebalance timeout is out") {
  ConsumerFixture f;
  f.topic("t", 2);
  Client a = f.join("a", {"t"});
  const Client stubborn = a;
  Client b = f.join("b", {"t"});
  for (int i = 0; i < 7; ++i) {
    f.advance(5'000);
    REQUIRE(f.beat(b) == ErrorCode::kNone);
    Client again = stubborn;
    const ErrorCode code = f.beat(again);
    CHECK((code == ErrorCode::kNone || code == ErrorCode::kUnknownMemberId));
  }
  REQUIRE(f.beat(b) == ErrorCode::kNone);
  CHECK(count(b) == 2);
}

TEST_CASE("whoever cannot be taken out, for the records cannot be written, is tried again") {
  ConsumerFixture f;
  f.topic("t", 2);
  f.join("a", {"t"});
  f.sink.failure = ErrorCode::kCoordinatorNotAvailable;
  f.advance(46'000);
  REQUIRE(f.state() == "Stable");
  f.sink.failure = ErrorCode::kNone;
  f.advance(1'001);
  CHECK(f.state() == "Empty");
}

TEST_CASE("a static member comes back to what it had") {
  ConsumerFixture f;
  f.topic("t", 4);
  Client a{"a"};
  a.topics = {"t"};
  a.instance_id = "i";
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  Client b = f.join("b", {"t"});
  f.settle({&a, &b});
  Client thief = a;
  thief.id = "a2";
  thief.epoch = 0;
  thief.owned.clear();
  CHECK(f.beat(thief) == ErrorCode::kUnreleasedInstanceId);
  REQUIRE(f.leave(a, kLeaveStaticEpoch) == ErrorCode::kNone);
  REQUIRE(f.beat(thief) == ErrorCode::kNone);
  CHECK(thief.owned == a.owned);
  CHECK(f.beat(a) == ErrorCode::kFencedInstanceId);
  const int32_t epoch = b.epoch;
  REQUIRE(f.beat(b) == ErrorCode::kNone);
  CHECK(b.epoch == epoch);  // nobody was rebalanced for it
}

TEST_CASE("a regular expression follows topics that come and go") {
  ConsumerFixture f;
  f.topic("orders-1", 1);
  f.topic("other", 1);
  Client a{"a"};
  a.regex = "orders-.*";
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(count(a) == 1);
  f.topic("orders-2", 2);
  f.advance(1'000);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(count(a) == 3);
  f.remove_topic("orders-2");
  f.advance(1'000);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(count(a) == 1);
  Client b{"b"};
  b.regex = "(";
  CHECK(f.beat(b) == ErrorCode::kInvalidRegularExpression);
}

TEST_CASE("a topic that gets partitions raises the group's epoch; one that nobody reads does not") {
  ConsumerFixture f;
  f.topic("t", 1);
  Client a = f.join("a", {"t"});
  f.topic("u", 1);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(a.epoch == 2);
  f.topic("t", 3);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(a.epoch == 3);
  CHECK(count(a) == 3);
}

TEST_CASE("a member may commit a partition it keeps an epoch late, others not (KIP-1251)") {
  ConsumerFixture f;
  const Uuid t = f.topic("t", 2);
  Client a = f.join("a", {"t"});
  f.topic("t", 3);
  REQUIRE(f.beat(a) == ErrorCode::kNone);
  CHECK(f.commit("a", 3, t, 2) == ErrorCode::kNone);
  CHECK(f.commit("a", 2, t, 0) == ErrorCode::kNone);
  CHECK(f.commit("a", 2, t, 2) == ErrorCode::kStaleMemberEpoch);
  CHECK(f.commit("a", 4, t, 0) == ErrorCode::kStaleMemberEpoch);
  CHECK(f.commit("b", 3, t, 0) == ErrorCode::kUnknownMemberId);
  CHECK(f.shard->check_fetch(kGroup, "a", 2) == ErrorCode::kStaleMemberEpoch);
  CHECK(f.shard->check_fetch(kGroup, "a", 3) == ErrorCode::kNone);
}

// What a first heartbeat is answered that `change` has spoilt.
static ErrorCode answer_to(ConsumerFixture& f, auto change) {
  Client a{"a"};
  auto request = f.request_of(a);
  request.rebalance_timeout_ms = 1;
  request.subscribed_topic_names.emplace();
  change(request);
  return f.send(request).error_code;
}

TEST_CASE("what a request must have is checked first") {
  ConsumerFixture f;
  CHECK(answer_to(f, [](auto&) {}) == ErrorCode::kNone);
  CHECK(answer_to(f, [](auto& r) { r.member_id = ""; }) == ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.group_id = " "; }) == ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.rebalance_timeout_ms = -1; }) == ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.subscribed_topic_names.reset(); }) ==
        ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.topic_partitions.reset(); }) == ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.member_epoch = -3; }) == ErrorCode::kInvalidRequest);
  CHECK(answer_to(f, [](auto& r) { r.server_assignor = "x"; }) == ErrorCode::kUnsupportedAssignor);
}

TEST_CASE("a classic group becomes a consumer group under its members, and turns back") {
  ConsumerFixture f;
  const Uuid t = f.topic("t", 4);
  auto old = f.join_classic("", {"t"});
  REQUIRE(old.error_code == ErrorCode::kNone);
  REQUIRE(f.partitions_of(f.sync_classic(old, {{t, {0, 1, 2, 3}}})) == 4);
  Client fresh = f.join("new", {"t"});
  CHECK(f.shard->consumer_state(kGroup) != nullptr);
  CHECK(count(fresh) == 0);
  CHECK(f.beat_classic(old) == ErrorCode::kRebalanceInProgress);
  old = f.join_classic(old.member_id, {"t"});
  REQUIRE(old.error_code == ErrorCode::kNone);
  CHECK(f.partitions_of(f.sync_classic(old)) == 2);
  REQUIRE(f.beat(fresh) == ErrorCode::kNone);
  CHECK(count(fresh) == 2);
  REQUIRE(f.leave(fresh) == ErrorCode::kNone);
  CHECK(f.shard->consumer_state(kGroup) == nullptr);
  CHECK(f.shard->describe(kGroup)->group_state == "PreparingRebalance");
  old = f.join_classic(old.member_id, {"t"});
  CHECK(old.error_code == ErrorCode::kNone);
  CHECK(f.partitions_of(f.sync_classic(old, {{t, {0, 1, 2, 3}}})) == 4);
}

TEST_CASE("a group that is no group of consumers stays classic") {
  ConsumerFixture f;
  JoinGroupRequest request;
  request.group_id = kGroup;
  request.session_timeout_ms = 10'000;
  request.protocol_type = "connect";
  request.protocols = {{.name = "p", .metadata = Bytes::copy_of("x")}};
  f.shard->join(request, {.client_id = "c"}, f.now, [](JoinGroupResponse) {});
  Client a{"a"};
  a.topics = {"t"};
  CHECK(f.beat(a) == ErrorCode::kGroupIdNotFound);
  CHECK(f.shard->describe(kGroup).has_value());
}

TEST_CASE("an empty group of one protocol becomes one of the other") {
  ConsumerFixture f;
  f.topic("t", 1);
  Client a = f.join("a", {"t"});
  REQUIRE(f.leave(a) == ErrorCode::kNone);
  CHECK(f.state() == "Empty");
  REQUIRE(f.join_classic("", {"t"}).error_code == ErrorCode::kNone);
  CHECK(f.shard->consumer_state(kGroup) == nullptr);
}

TEST_CASE("consumer groups that are empty are deleted whole; their offsets first") {
  ConsumerFixture f;
  const Uuid t = f.topic("t", 1);
  Client a = f.join("a", {"t"});
  REQUIRE(f.commit("a", a.epoch, t, 0) == ErrorCode::kNone);
  ErrorCode code = ErrorCode::kNone;
  const auto remove = [&] {
    f.shard->remove_group(kGroup, [&](ErrorCode result) { code = result; });
    return code;
  };
  CHECK(remove() == ErrorCode::kNonEmptyGroup);
  REQUIRE(f.leave(a) == ErrorCode::kNone);
  CHECK(remove() == ErrorCode::kNone);
  CHECK(f.state() == "none");
  CHECK_FALSE(f.shard->offsets().knows(kGroup));
  f.check_twin();
}

namespace {

// Members come, go, fall silent and change their minds; topics come, grow and go.
struct RandomGroup {
  explicit RandomGroup(uint64_t seed) : random(seed * 0x9E3779B97F4A7C15ull) {
    f.topic("t1", 3);
    f.topic("t2", 5);
  }
  uint64_t pick(uint64_t below) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return (random >> 33) % below;
  }
  void choose(Client& client) {
    static const std::vector<std::vector<std::string>> choices = {
        {"t1"}, {"t1", "t2"}, {"t2"}, {"t1", "t2", "t3"}};
    client.topics = choices[pick(choices.size())];
    client.regex = pick(4) == 0 ? "t[23]" : "";
    if (!client.regex.empty()) {
      client.topics.clear();
    }
  }
  void step() {
    const uint64_t what = pick(12);
    if (clients.empty() || (what == 0 && clients.size() < 6)) {
      Client fresh{"m" + std::to_string(++names)};
      choose(fresh);
      if (f.beat(fresh) == ErrorCode::kNone) {
        clients.push_back(fresh);
      }
      return;
    }
    Client& client = clients[pick(clients.size())];
    if (what == 1) {
      CHECK(f.leave(client) == ErrorCode::kNone);
      std::erase_if(clients, [id = client.id](const auto& each) { return each.id == id; });
    } else if (what == 2) {
      choose(client);
      f.beat(client);
    } else if (what == 3) {
      f.topic("t" + std::to_string(1 + pick(3)), static_cast<int32_t>(3 + pick(5)));
    } else if (what == 4) {
      f.advance(static_cast<int64_t>(pick(20'000)));
    } else if (f.beat(client) != ErrorCode::kNone) {
      std::erase_if(clients, [id = client.id](const auto& each) { return each.id == id; });
    }
  }
  // Those that the coordinator still knows go on until nothing moves any more.
  void settle() {
    const auto beat_all = [&] {
      std::erase_if(clients, [&](auto& each) { return f.beat(each) != ErrorCode::kNone; });
    };
    beat_all();
    f.advance(2'000);  // longer than an expression waits for the next look
    for (int round = 0; round < 10; ++round) {
      beat_all();
      f.advance(9'000);
    }
  }
  void check_everything_is_read_once() {
    CHECK(f.state() == "Stable");
    std::map<Uuid, std::set<int32_t>> read;
    for (const Client& client : clients) {
      for (const auto& [topic, partitions] : client.owned) {
        for (const int32_t partition : partitions) {
          CHECK(read[topic].insert(partition).second);
        }
      }
    }
    for (const auto& name : f.shard->consumer_state(kGroup)->subscribed_topics()) {
      if (const auto topic = f.image->topic(name)) {
        CHECK(read[topic->id].size() == topic->partitions.size());
      }
    }
  }

  ConsumerFixture f;
  uint64_t random;
  std::vector<Client> clients;
  int names = 0;
};

}  // namespace

TEST_CASE("whatever happens, partitions have one owner, and in the end all are read") {
  int with_members = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    RandomGroup group(seed);
    for (int step = 0; step < 60; ++step) {
      group.step();
    }
    group.settle();
    if (!group.clients.empty()) {
      ++with_members;
      group.check_everything_is_read_once();
    }
  }
  CHECK(with_members > 30);
}
