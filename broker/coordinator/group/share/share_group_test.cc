// Share groups (KIP-932) in virtual time, with a share coordinator that the test plays. After every
// step a second shard fed only with the records must know the same.
#include "broker/coordinator/group/share/share_group.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/group/group_fixture.h"
#include "storage/env/clock.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;

namespace {

constexpr const char* kGroup = "g";

struct ShareGroupFixture : GroupFixture {
  std::set<std::pair<Uuid, int32_t>> kept;  // by the share coordinator
  ErrorCode coordinator_says = ErrorCode::kNone;
  std::vector<GroupSurroundings::Done> waiting;
  bool hold = false;

  ShareGroupFixture() {
    surroundings.initialize_shared = [this](const std::string&, int32_t, const ShareStarts& starts,
                                            GroupSurroundings::Done done) {
      for (const auto& [place, offset] : starts) {
        kept.insert(place);
      }
      hold ? waiting.push_back(std::move(done)) : done(coordinator_says);
    };
    surroundings.remove_shared = [this](const std::string&, const ShareStarts& starts,
                                        GroupSurroundings::Done done) {
      for (const auto& [place, offset] : starts) {
        kept.erase(place);
      }
      done(coordinator_says);
    };
    restart();
  }
  std::optional<ShareGroupHeartbeatResponse> send(const ShareGroupHeartbeatRequest& request) {
    auto answer = std::make_shared<std::optional<ShareGroupHeartbeatResponse>>();
    shard->share_heartbeat(
        request, {"client", "/host", 1}, now,
        [answer](ShareGroupHeartbeatResponse response) { *answer = std::move(response); });
    check_twin();
    return *answer;
  }
  std::optional<ShareGroupHeartbeatResponse> beat(const std::string& member, int32_t epoch,
                                                  std::vector<std::string> topics = {}) {
    ShareGroupHeartbeatRequest request;
    request.group_id = kGroup;
    request.member_id = member;
    request.member_epoch = epoch;
    if (epoch == 0) {
      request.subscribed_topic_names = std::move(topics);
    }
    return send(request);
  }
  void check_twin() {
    const auto other = twin();
    const auto* const mine = shard->share_state(kGroup);
    const auto* const theirs = other->share_state(kGroup);
    REQUIRE((mine == nullptr) == (theirs == nullptr));
    if (mine != nullptr) {
      CHECK(*mine == *theirs);
    }
  }
  static size_t count(const std::optional<ShareGroupHeartbeatResponse>& response) {
    size_t partitions = 0;
    if (response && response->assignment) {
      for (const auto& topic : response->assignment->topic_partitions) {
        partitions += topic.partitions.size();
      }
    }
    return partitions;
  }
};

}  // namespace

TEST_CASE("a share group's first member has its partitions once their state is kept") {
  ShareGroupFixture f;
  f.topic("t", 3);
  const auto joined = f.beat("a", 0, {"t"});
  REQUIRE(joined->error_code == ErrorCode::kNone);
  CHECK(f.count(joined) == 3);
  CHECK(f.kept.size() == 3);
  CHECK(f.shard->describe_share_group(kGroup)->group_state == "Stable");
}

TEST_CASE("members share partitions when there are more of them") {
  ShareGroupFixture f;
  f.topic("t", 2);
  for (const char* id : {"a", "b", "c", "d"}) {
    CHECK(f.count(f.beat(id, 0, {"t"})) >= 1);
  }
  size_t readers = 0;
  for (const auto& [id, member] : f.shard->share_state(kGroup)->members()) {
    for (const auto& [topic, partitions] : f.shard->share_state(kGroup)->target(id)) {
      readers += partitions.size();
    }
  }
  CHECK(readers == 4);
}

TEST_CASE("partitions that come are initialized and given out at the next heartbeat") {
  ShareGroupFixture f;
  f.topic("t", 1);
  const auto joined = f.beat("a", 0, {"t"});
  f.topic("t", 4);
  const auto next = f.beat("a", joined->member_epoch);
  CHECK(f.count(next) == 4);
  CHECK(next->member_epoch > joined->member_epoch);
}

TEST_CASE("a topic that is made anew is another one") {
  ShareGroupFixture f;
  f.topic("t", 2);
  const auto joined = f.beat("a", 0, {"t"});
  f.remove_topic("t");
  const Uuid again = f.topic("t", 1);
  const auto next = f.beat("a", joined->member_epoch);
  REQUIRE(f.count(next) == 1);
  CHECK(next->assignment->topic_partitions[0].topic_id == again);
  CHECK(f.shard->share_state(kGroup)->shared().initialized.size() == 1);
}

TEST_CASE("while the share coordinator is asked, others are answered without") {
  ShareGroupFixture f;
  f.topic("t", 2);
  f.hold = true;
  CHECK_FALSE(f.beat("a", 0, {"t"}).has_value());
  const auto second = f.beat("b", 0, {"t"});
  REQUIRE(second.has_value());
  CHECK(f.count(second) == 0);
  REQUIRE(f.waiting.size() == 1);
  f.waiting.front()(ErrorCode::kNone);
  CHECK(f.count(f.beat("b", second->member_epoch)) >= 1);
}

TEST_CASE("when the share coordinator refuses, the member has joined, and asks again") {
  ShareGroupFixture f;
  f.topic("t", 1);
  f.coordinator_says = ErrorCode::kFencedStateEpoch;
  const auto joined = f.beat("a", 0, {"t"});
  CHECK(joined->error_code == ErrorCode::kNone);
  CHECK(f.count(joined) == 0);
  f.coordinator_says = ErrorCode::kNone;
  CHECK(f.count(f.beat("a", joined->member_epoch)) == 1);
}

TEST_CASE("two members that join at once have the share coordinator asked once") {
  ShareGroupFixture f;
  f.topic("t", 2);
  f.hold = true;
  f.sink.hold = true;
  CHECK_FALSE(f.beat("a", 0, {"t"}).has_value());
  CHECK_FALSE(f.beat("b", 0, {"t"}).has_value());
  for (auto& committed : std::exchange(f.sink.held, {})) {
    committed(ErrorCode::kNone);
  }
  CHECK(f.waiting.size() == 1);
}

TEST_CASE("what could not be written is asked for again") {
  ShareGroupFixture f;
  f.topic("t", 1);
  f.sink.failure = ErrorCode::kNotCoordinator;
  CHECK(f.beat("a", 0, {"t"})->error_code == ErrorCode::kNotCoordinator);
  f.sink.failure = ErrorCode::kNone;
  CHECK(f.count(f.beat("a", 0, {"t"})) == 1);
}

TEST_CASE("a share group's answer may come when its shard is gone") {
  ShareGroupFixture f;
  f.topic("t", 1);
  f.hold = true;
  f.beat("a", 0, {"t"});
  f.shard.reset();
  f.waiting.front()(ErrorCode::kNone);
}

TEST_CASE("members of a share group are fenced, leave, and fall silent") {
  ShareGroupFixture f;
  f.topic("t", 1);
  const auto a = f.beat("a", 0, {"t"});
  CHECK(f.beat("a", 9)->error_code == ErrorCode::kFencedMemberEpoch);
  CHECK(f.beat("nobody", 1)->error_code == ErrorCode::kUnknownMemberId);
  CHECK(f.beat("a", -2)->error_code == ErrorCode::kInvalidRequest);
  CHECK(f.beat("", 0, {"t"})->error_code == ErrorCode::kInvalidRequest);
  f.beat("b", 0, {"t"});
  CHECK(f.beat("b", -1)->error_code == ErrorCode::kNone);
  f.advance(46'000);
  CHECK(f.shard->describe_share_group(kGroup)->group_state == "Empty");
}

TEST_CASE("a share group keeps its name from others, and its topics until they are deleted") {
  ShareGroupFixture f;
  const Uuid t = f.topic("t", 2);
  f.beat("a", 0, {"t"});
  ErrorCode code = ErrorCode::kNone;
  const auto note = [&](ErrorCode outcome) { code = outcome; };
  f.shard->delete_share_offsets(kGroup, {t}, note);
  CHECK(code == ErrorCode::kNonEmptyGroup);
  f.beat("a", -1);
  ConsumerGroupHeartbeatRequest consumer;
  consumer.group_id = kGroup;
  consumer.member_id = "c";
  consumer.rebalance_timeout_ms = 1'000;
  consumer.subscribed_topic_names.emplace();
  consumer.topic_partitions.emplace();
  f.shard->consumer_heartbeat(consumer, {"client", "/host", 1}, f.now,
                              [&](const auto& response) { code = response.error_code; });
  CHECK(code == ErrorCode::kGroupIdNotFound);
  f.shard->delete_share_offsets(kGroup, {t}, note);
  CHECK(code == ErrorCode::kNone);
  CHECK(f.kept.empty());
  f.shard->alter_share_offsets(kGroup, {{{t, 1}, 7}}, note);
  CHECK(code == ErrorCode::kNone);
  CHECK(f.kept.size() == 1);
  f.shard->remove_group(kGroup, note);
  CHECK(code == ErrorCode::kNone);
  CHECK(f.kept.empty());
  CHECK(f.shard->share_state(kGroup) == nullptr);
  f.check_twin();
}

namespace {

// Members come, go and fall silent; topics come and grow; the share coordinator fails at times.
struct RandomShareGroup {
  explicit RandomShareGroup(uint64_t seed) : random(seed) { f.topic("t1", 2); }
  uint64_t pick(uint64_t below) { return random.next() % below; }

  void beat(const std::string& id) {
    static const std::vector<std::vector<std::string>> choices = {{"t1"}, {"t1", "t2"}, {"t2"}};
    if (epochs.at(id) == 0) {
      topics[id] = choices[pick(choices.size())];
    }
    const auto answer = f.beat(id, epochs.at(id), topics.at(id));
    if (!answer) {
      return;  // it waits for the share coordinator
    }
    if (answer->error_code != ErrorCode::kNone) {
      CHECK((answer->error_code == ErrorCode::kUnknownMemberId ||
             answer->error_code == ErrorCode::kGroupIdNotFound));
      epochs.erase(id);
      return;
    }
    CHECK(answer->member_epoch >= epochs.at(id));
    epochs[id] = answer->member_epoch;
    given[id] = answer->assignment ? parts_of(*answer->assignment) : given[id];
  }
  static std::set<std::pair<Uuid, int32_t>> parts_of(
      const ShareGroupHeartbeatResponse::Assignment& assignment) {
    std::set<std::pair<Uuid, int32_t>> parts;
    for (const auto& topic : assignment.topic_partitions) {
      for (const int32_t partition : topic.partitions) {
        parts.emplace(topic.topic_id, partition);
      }
    }
    return parts;
  }
  void step() {
    const uint64_t what = pick(12);
    f.coordinator_says = pick(6) == 0 ? ErrorCode::kCoordinatorNotAvailable : ErrorCode::kNone;
    if (epochs.empty() || (what == 0 && epochs.size() < 6)) {
      const std::string id = "m" + std::to_string(++names);
      epochs[id] = 0;
      return beat(id);
    }
    const std::string id =
        std::next(epochs.begin(), static_cast<ptrdiff_t>(pick(epochs.size())))->first;
    if (what == 1) {
      f.beat(id, -1);
      epochs.erase(id);
    } else if (what == 2) {
      const std::string name = "t" + std::to_string(1 + pick(2));
      const auto known = f.image->topic(name);
      f.topic(name, static_cast<int32_t>((known ? known->partitions.size() : 0) + 1 + pick(2)));
    } else if (what == 3) {
      f.advance(static_cast<int64_t>(pick(20'000)));
    } else {
      beat(id);
    }
  }
  void settle() {
    f.coordinator_says = ErrorCode::kNone;
    for (int round = 0; round < 10; ++round) {
      for (const auto& [id, epoch] : std::map(epochs)) {
        beat(id);
      }
      f.advance(9'000);
    }
  }
  // Somebody reads each partition, and nobody what he has not asked for or what is not kept.
  void check() {
    std::set<std::pair<Uuid, int32_t>> wanted;
    std::set<std::pair<Uuid, int32_t>> read;
    for (const auto& [id, epoch] : epochs) {
      std::set<std::pair<Uuid, int32_t>> own;
      for (const auto& name : topics.at(id)) {
        const auto topic = f.image->topic(name);
        for (int32_t i = 0; topic && i < static_cast<int32_t>(topic->partitions.size()); ++i) {
          own.emplace(topic->id, i);
        }
      }
      CHECK(std::ranges::includes(own, given[id]));
      wanted.insert(own.begin(), own.end());
      read.insert(given[id].begin(), given[id].end());
    }
    for (const auto& [topic, partition] : wanted) {
      INFO("partition " << partition << ", kept " << f.kept.contains({topic, partition}));
      CHECK(read.contains({topic, partition}));
    }
    CHECK(std::ranges::includes(f.kept, read));
  }

  ShareGroupFixture f;
  storage::SimRandom random;
  std::map<std::string, int32_t> epochs;
  std::map<std::string, std::vector<std::string>> topics;
  std::map<std::string, std::set<std::pair<Uuid, int32_t>>> given;
  int names = 0;
};

}  // namespace

TEST_CASE("whatever the members of a share group do, in the end each partition is read") {
  size_t with_members = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    RandomShareGroup group(seed);
    for (int i = 0; i < 60; ++i) {
      group.step();
    }
    group.settle();
    group.check();
    with_members += group.epochs.empty() ? 0 : 1;
  }
  CHECK(with_members > 30);
}
