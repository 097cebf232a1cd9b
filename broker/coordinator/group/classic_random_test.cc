// Members of a classic group come, go, fall silent and commit, from a seed. Whoever is told a part
// has it from the leader of that generation, nobody of an older one changes anything, and a second
// shard fed only with the records knows what this one knows.
#include <algorithm>
#include <catch2/catch.hpp>

#include "broker/coordinator/group/classic_fixture.h"
#include "storage/env/clock.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

struct Client {
  std::string id;
  int32_t generation = -1;
  bool is_stable = false;
  std::shared_ptr<Joined> joining;
  std::shared_ptr<Synced> syncing;
};

struct RandomClassic {
  explicit RandomClassic(uint64_t seed) : random(seed) {}
  uint64_t pick(uint64_t below) { return random.next() % below; }
  static std::string part_of(int32_t generation, const std::string& member) {
    return std::to_string(generation) + ":" + member;
  }

  void join(Client& client) {
    client.is_stable = false;
    client.syncing = nullptr;
    client.joining = f.join(client.id, {}, 10'000, "m", client.id.empty());
  }
  void take_join(Client& client) {
    const JoinGroupResponse answer = *std::exchange(client.joining, nullptr)->response;
    if (answer.error_code == ErrorCode::kMemberIdRequired) {
      client.id = answer.member_id;
      return join(client);
    }
    if (answer.error_code != ErrorCode::kNone) {
      REQUIRE(answer.error_code == ErrorCode::kUnknownMemberId);
      client.id.clear();
      return join(client);
    }
    client.generation = answer.generation_id;
    newest = std::max(newest, client.generation);
    std::map<std::string, std::string> parts;
    for (const auto& member : answer.members) {  // told to the leader alone
      parts[member.member_id] = part_of(client.generation, member.member_id);
    }
    if (!parts.empty()) {
      REQUIRE(leaders.try_emplace(client.generation, client.id).first->second == client.id);
    }
    client.syncing = f.sync(answer, parts);
  }
  void take_sync(Client& client) {
    const SyncGroupResponse answer = *std::exchange(client.syncing, nullptr)->response;
    if (answer.error_code != ErrorCode::kNone) {
      return join(client);
    }
    REQUIRE(answer.assignment.view() == part_of(client.generation, client.id));
    client.is_stable = true;
  }
  void go_on(Client& client) {
    if (client.joining && client.joining->response) {
      take_join(client);
    } else if (client.syncing && client.syncing->response) {
      take_sync(client);
    } else if (client.is_stable) {
      JoinGroupResponse as;
      as.member_id = client.id;
      as.generation_id = client.generation;
      if (f.heartbeat(as) != ErrorCode::kNone) {
        join(client);
      }
    }
  }
  // What an older generation, or one who is out, commits is not taken.
  void commit(const Client& client) {
    if (client.id.empty() || client.generation < 0) {
      return;
    }
    const ErrorCode code = f.commit(client.id, client.generation, ++offset);
    const bool is_old = client.generation < newest;
    if (is_old) {
      CHECK(code != ErrorCode::kNone);
    }
    const auto* const offsets = f.shard->offsets().group("g");
    if (code == ErrorCode::kNone) {
      REQUIRE(offsets != nullptr);
      CHECK(offsets->begin()->second.offset == offset);
      committed = offset;
    } else if (offsets != nullptr) {
      CHECK(offsets->begin()->second.offset == committed);
    }
  }
  void step() {
    const uint64_t what = pick(14);
    if (clients.empty() || (what == 0 && clients.size() < 6)) {
      clients.emplace_back();
      return join(clients.back());
    }
    const auto chosen = clients.begin() + static_cast<ptrdiff_t>(pick(clients.size()));
    if (what == 1 && chosen->is_stable) {
      const ErrorCode code = f.shard->leave("g", chosen->id, {}, f.now);
      CHECK((code == ErrorCode::kNone || code == ErrorCode::kUnknownMemberId));  // it was silent
      clients.erase(chosen);
    } else if (what == 2) {  // it says nothing any more
      clients.erase(chosen);
    } else if (what < 5) {
      f.advance(static_cast<int64_t>(pick(4'000)));
    } else if (what < 7) {
      commit(*chosen);
    } else {
      go_on(*chosen);
    }
    check_twin();
  }
  void settle() {
    for (int i = 0; i < 200; ++i) {
      for (Client& client : clients) {
        go_on(client);
      }
      f.advance(1'000);
    }
  }
  void check_twin() {
    const auto other = f.twin();
    const auto* const mine = f.shard->offsets().group("g");
    const auto* const theirs = other->offsets().group("g");
    REQUIRE((mine == nullptr) == (theirs == nullptr));
    REQUIRE((mine == nullptr || mine->begin()->second.offset == theirs->begin()->second.offset));
    const auto here = f.shard->describe("g");
    const auto there = other->describe("g");
    if (here && here->group_state == "Stable") {
      REQUIRE(there);
      CHECK(there->protocol_data == here->protocol_data);
      CHECK(there->members == here->members);
    }
  }

  ClassicFixture f;
  storage::SimRandom random;
  std::vector<Client> clients;
  std::map<int32_t, std::string> leaders;  // by generation
  int32_t newest = 0;                      // of those that somebody was told
  int64_t offset = 0;
  int64_t committed = -1;
};

}  // namespace

TEST_CASE("whatever the members of a classic group do, a generation has one leader and one plan") {
  size_t stable = 0;
  int64_t commits = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    RandomClassic group(seed);
    for (int i = 0; i < 80; ++i) {
      group.step();
    }
    group.settle();
    for (const Client& client : group.clients) {
      CHECK(client.is_stable);
      CHECK(client.generation == group.newest);
      ++stable;
    }
    commits += group.committed > 0 ? 1 : 0;
  }
  CHECK(stable > 100);
  CHECK(commits > 50);
}
