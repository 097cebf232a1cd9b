#include "replication/raft/raft.h"

#include <catch2/catch.hpp>

#include "protocol/generated/add_raft_voter_response.h"
#include "protocol/generated/api_versions_request.h"
#include "protocol/generated/remove_raft_voter_response.h"
#include "replication/raft/quorum.h"
#include "storage/env/sim_disk.h"

using namespace klamm;
using namespace klamm::replication;
using namespace klamm::protocol;

namespace {

// Nodes of a quorum on simulated disks, whose messages are late, get lost, and whose links break,
// all from one seed.
class World {
 public:
  struct Host : Transport, RaftListener {
    World* world = nullptr;
    int32_t id = 0;
    uint64_t directory = 1;
    storage::SimDisk disk;
    std::unique_ptr<RaftLog> log;
    std::unique_ptr<ElectionFile> file;
    std::shared_ptr<Raft> raft;
    int64_t committed = -1;
    bool down = true;
    uint64_t life = 0;
    std::vector<std::function<void()>> open;  // connections to it, reset when it dies

    explicit Host(uint64_t seed) : disk(seed) {}
    void send(const Address& to, Call call) override { world->deliver(*this, to, std::move(call)); }
    void on_committed(int64_t offset) override {
      CHECK(offset > committed);
      committed = offset;
      world->check_committed(*this);
    }
    void on_snapshot(const SnapshotId&) override {}
    void on_role(RaftRole role, int32_t, int32_t epoch) override {
      if (role == RaftRole::kLeader) {
        const auto [known, fresh] = world->leaders.emplace(epoch, id);
        CHECK((fresh || known->second == id));
      }
    }
    void on_failure(const Error& error) override { FAIL(error.why); }
  };

  // The first `voting` vote; the others observe.
  World(size_t count, uint64_t seed, size_t voting = SIZE_MAX, bool joins = false)
      : auto_join(joins), random(seed) {
    for (size_t i = 0; i < count; ++i) {
      auto& host = hosts.emplace_back(std::make_unique<Host>(seed * 31 + i));
      host->world = this;
      host->id = static_cast<int32_t>(i + 1);
      if (i < voting) {
        voters += (i == 0 ? "" : ",") + std::to_string(host->id) + "@h:" + std::to_string(host->id);
      }
    }
    for (auto& host : hosts) {
      start(*host);
    }
  }

  static ReplicaKey key_of(const Host& host) {
    return {host.id, {host.directory, static_cast<uint64_t>(1000 + host.id)}};
  }
  void start(Host& host) {
    host.log = *RaftLog::open(host.disk, clock, {.folder = "/m"});
    host.file = std::make_unique<ElectionFile>(host.disk, "/m");
    host.committed = -1;
    host.down = false;
    RaftOptions options{.self = key_of(host), .cluster_id = "c"};
    options.static_voters = *VoterSet::parse(voters, "CONTROLLER");
    options.listeners = {{"CONTROLLER", {"h", static_cast<uint16_t>(host.id)}}};
    options.auto_join = auto_join;
    host.raft = std::make_shared<Raft>(options, *host.log, *host.file, host, clock, random, host);
    REQUIRE(host.raft->start());
  }
  void crash(Host& host, bool power) {
    host.down = true;
    ++host.life;
    for (auto& reset : std::exchange(host.open, {})) {
      at(1, std::move(reset));
    }
    host.raft.reset();
    host.log.reset();
    if (power) {
      host.disk.cut_power();
    }
  }

  void at(int64_t wait_ms, std::function<void()> work) {
    events.emplace(std::pair(clock.monotonic_ms() + wait_ms, serial++), std::move(work));
  }

  template <class Request>
  static Request read(const Bytes& bytes, int16_t version) {
    Reader in(bytes);
    Request request;
    request.decode(in, version);
    CHECK(in.ok());
    return request;
  }

  void deliver(Host& from, const Address& to, Call given) {
    const auto call = std::make_shared<Call>(std::move(given));
    const auto answered = std::make_shared<bool>(false);
    const auto finish = [this, call, answered, sender = &from,
                         life = from.life](Result<CallAnswer> answer) {
      if (!std::exchange(*answered, true) && !sender->down && sender->life == life) {
        call->done(std::move(answer));
      }
    };
    at(call->timeout_ms,
       [finish] { finish(fail(ErrorCode::kRequestTimedOut, "no answer in time")); });
    Host& host = *hosts.at(to.port - 1u);
    if (cut.contains({from.id, host.id}) || random.next() % 100 < loss_percent) {
      return;
    }
    host.open.push_back([this, finish, pair = std::pair(host.id, from.id)] {
      if (!cut.contains(pair)) {
        finish(fail(ErrorCode::kNetworkException, "reset"));
      }
    });
    Writer out;
    call->encode(out, call->version_max);
    at(1 + static_cast<int64_t>(random.next() % 5),
       [this, call, finish, &from, &host, body = out.flatten()] {
         if (host.down) {
           return finish(fail(ErrorCode::kNetworkException, "refused"));
         }
         answer(host, *call, body, [this, finish, &from, &host](Bytes reply, int16_t version) {
           if (!cut.contains({host.id, from.id}) && random.next() % 100 >= loss_percent) {
             at(1 + static_cast<int64_t>(random.next() % 5),
                [finish, reply, version] { finish(CallAnswer{reply, version}); });
           }
         });
       });
  }

  template <class Reply>
  static void answer(Host& host, const Call& call, const Bytes& body, Reply reply) {
    const int16_t version = call.version_max;
    const auto send = [reply, version](const auto& response) {
      Writer out;
      response.encode(out, version);
      reply(out.flatten(), version);
    };
    switch (call.api_key) {
      case VoteRequest::kKey: return send(host.raft->vote(read<VoteRequest>(body, version)));
      case BeginQuorumEpochRequest::kKey:
        return send(host.raft->begin_epoch(read<BeginQuorumEpochRequest>(body, version)));
      case EndQuorumEpochRequest::kKey:
        return send(host.raft->end_epoch(read<EndQuorumEpochRequest>(body, version)));
      case FetchSnapshotRequest::kKey:
        return send(host.raft->fetch_snapshot(read<FetchSnapshotRequest>(body, version)));
      case FetchRequest::kKey:
        return host.raft->fetch(read<FetchRequest>(body, version), version,
                                [reply, version](FetchResponse response) mutable {
                                  auto& topics = response.responses;
                                  if (!topics.empty() && topics[0].partitions[0].records) {
                                    topics[0].partitions[0].records =
                                        flatten(*topics[0].partitions[0].records);
                                  }
                                  Writer out;
                                  response.encode(out, version);
                                  reply(out.flatten(), version);
                                });
      case UpdateRaftVoterRequest::kKey:
        return send(host.raft->update_voter(read<UpdateRaftVoterRequest>(body, version)));
      case AddRaftVoterRequest::kKey:
        return host.raft->add_voter(read<AddRaftVoterRequest>(body, version),
                                    [send](const Result<>&) { send(AddRaftVoterResponse{}); });
      case RemoveRaftVoterRequest::kKey:
        return host.raft->remove_voter(
            read<RemoveRaftVoterRequest>(body, version),
            [send](const Result<>&) { send(RemoveRaftVoterResponse{}); });
      case ApiVersionsRequest::kKey: {
        ApiVersionsResponse response;
        response.supported_features = {
            {.name = "kraft.version", .min_version = 0, .max_version = 1}};
        return send(response);
      }
      default: FAIL("an unexpected request");
    }
  }
  static Payload flatten(const Payload& payload) {
    std::string content;
    for (const Piece& piece : payload.pieces()) {
      std::string part(piece.size, '\0');
      if (piece.source == nullptr) {
        part = piece.bytes.view();
      } else {
        REQUIRE(piece.source->read_at(piece.position,
                                      {reinterpret_cast<uint8_t*>(part.data()), part.size()}));
      }
      content += part;
    }
    return Payload(Bytes::copy_of(content));
  }

  // One step of time.
  void step() {
    clock.advance(1);
    while (!events.empty() && events.begin()->first.first <= clock.monotonic_ms()) {
      const auto work = std::move(events.begin()->second);
      events.erase(events.begin());
      work();
    }
    for (auto& host : hosts) {
      if (!host->down && host->raft->deadline_ms() <= clock.monotonic_ms()) {
        host->raft->tick();
      }
    }
  }
  Host* leader() {
    Host* found = nullptr;
    for (auto& host : hosts) {
      if (!host->down && host->raft->is_leader() &&
          (found == nullptr || host->raft->epoch() > found->raft->epoch())) {
        found = host.get();
      }
    }
    return found;
  }
  // Whoever has a committed record has the same one as everybody else.
  void check_committed(Host& host) {
    REQUIRE(host.log->visit(0, [&](const BatchView& batch) {
      if (batch.next_offset() > host.committed) {
        return false;
      }
      const std::string content(reinterpret_cast<const char*>(batch.body().data()),
                                batch.body().size());
      const auto [known, fresh] = committed.emplace(batch.base_offset(), content);
      CHECK((fresh || known->second == content));
      return true;
    }));
  }
  bool append(const std::string& text) {
    Host* const host = leader();
    return host != nullptr &&
           host->raft->append(data_batch({Bytes::copy_of(text)}, 0, 0, clock.wall_ms()))
               .has_value();
  }
  // Asks the leader; the code it will answer with, or has.
  using Told = std::shared_ptr<std::optional<ErrorCode>>;
  static Raft::VoterReply tell(const Told& told) {
    return [told](const Result<>& outcome) {
      *told = outcome ? ErrorCode::kNone : outcome.error().code;
    };
  }
  Told add_voter(const Host& host) {
    auto told = std::make_shared<std::optional<ErrorCode>>();
    AddRaftVoterRequest request;
    request.cluster_id = "c";
    request.timeout_ms = 2000;
    request.voter_id = host.id;
    request.voter_directory_id = key_of(host).directory;
    request.listeners.push_back(
        {.name = "CONTROLLER", .host = "h", .port = static_cast<uint16_t>(host.id)});
    leader()->raft->add_voter(request, tell(told));
    return told;
  }
  Told remove_voter(const Host& host) {
    auto told = std::make_shared<std::optional<ErrorCode>>();
    RemoveRaftVoterRequest request;
    request.cluster_id = "c";
    request.voter_id = host.id;
    request.voter_directory_id = key_of(host).directory;
    leader()->raft->remove_voter(request, tell(told));
    return told;
  }
  ErrorCode wait(const Told& told) {
    for (int i = 0; i < 5'000 && !*told; ++i) {
      step();
    }
    return told->value_or(ErrorCode::kUnknownServerError);
  }
  // Until the leader knows every voter's directory, and the log holds them.
  void make_dynamic() {
    REQUIRE(settle(10'000));
    for (int i = 0; i < 20'000 && !leader()->raft->upgrade_kraft_version(false); ++i) {
      step();
    }
    REQUIRE(settle(5'000));
    REQUIRE(leader()->raft->kraft_version() == 1);
  }
  // Until everybody who is up has everything.
  bool settle(int64_t ms) {
    for (int64_t i = 0; i < ms; ++i) {
      step();
      Host* const host = leader();
      if (host != nullptr && i % 50 == 49 &&
          std::all_of(hosts.begin(), hosts.end(), [&](const auto& other) {
            return other->down || (other->committed == host->log->end_offset() &&
                                   other->raft->epoch() == host->raft->epoch());
          })) {
        return true;
      }
    }
    return false;
  }

  bool auto_join;
  storage::SimClock clock;
  storage::SimRandom random;
  std::vector<std::unique_ptr<Host>> hosts;
  std::string voters;
  std::multimap<std::pair<int64_t, uint64_t>, std::function<void()>> events;
  uint64_t serial = 0;
  uint64_t loss_percent = 0;
  std::set<std::pair<int32_t, int32_t>> cut;  // one-way
  std::map<int32_t, int32_t> leaders;         // by epoch
  std::map<int64_t, std::string> committed;
};

}  // namespace

TEST_CASE("three voters elect a leader, and what it appends is committed everywhere") {
  World world(3, 7);
  REQUIRE(world.settle(10'000));
  REQUIRE(world.append("a"));
  REQUIRE(world.settle(1'000));
  for (const auto& host : world.hosts) {
    CHECK(host->committed == 2);
  }
}

TEST_CASE("the others elect a leader soon after the leader's process is gone") {
  World world(3, 8);
  REQUIRE(world.settle(10'000));
  world.crash(*world.leader(), false);
  const int64_t before = world.clock.monotonic_ms();
  while (world.leader() == nullptr) {
    world.step();
    REQUIRE(world.clock.monotonic_ms() - before < 500);
  }
}

TEST_CASE("a leader that resigns hands over without a timeout") {
  World world(3, 9);
  REQUIRE(world.settle(10'000));
  const int32_t old = world.leader()->id;
  world.leader()->raft->resign();
  for (int i = 0; i < 300 && world.leader() == nullptr; ++i) {
    world.step();
  }
  REQUIRE(world.leader() != nullptr);
  CHECK(world.leader()->id != old);
}

TEST_CASE("a leader that no majority hears from gives up") {
  World world(3, 10);
  REQUIRE(world.settle(10'000));
  auto& old = *world.leader();
  for (int32_t other = 1; other <= 3; ++other) {
    world.cut.insert({other, old.id});
    world.cut.insert({old.id, other});
  }
  for (int i = 0; i < 10'000; ++i) {
    world.step();
  }
  CHECK_FALSE(old.raft->is_leader());
  REQUIRE(world.leader() != nullptr);
  world.cut.clear();
  CHECK(world.settle(20'000));
}

TEST_CASE("a follower that was cut off does not disturb the others when it comes back") {
  World world(3, 11);
  REQUIRE(world.settle(10'000));
  const int32_t epoch = world.leader()->raft->epoch();
  const int32_t lost = world.leader()->id % 3 + 1;
  for (int32_t other = 1; other <= 3; ++other) {
    world.cut.insert({other, lost});
    world.cut.insert({lost, other});
  }
  for (int i = 0; i < 20'000; ++i) {
    world.step();
  }
  world.cut.clear();
  REQUIRE(world.settle(10'000));
  CHECK(world.leader()->raft->epoch() == epoch);
}

TEST_CASE("the voters of a static quorum cannot be changed") {
  World world(4, 12, 3);
  REQUIRE(world.settle(10'000));
  REQUIRE(world.append("a"));
  REQUIRE(world.settle(1'000));
  CHECK(world.wait(world.add_voter(*world.hosts[3])) == ErrorCode::kUnsupportedVersion);
  // Before the voters have told the leader what they are.
  CHECK(world.leader()->raft->upgrade_kraft_version(false).error().code ==
        ErrorCode::kInvalidUpdateVersion);
}

TEST_CASE("voters are added and removed one at a time, and survive a restart") {
  World world(5, 13, 3);
  world.make_dynamic();
  auto& fourth = *world.hosts[3];
  CHECK(world.wait(world.add_voter(fourth)) == ErrorCode::kNone);
  CHECK(world.wait(world.add_voter(fourth)) == ErrorCode::kDuplicateVoter);
  CHECK(world.wait(world.remove_voter(*world.hosts[4])) == ErrorCode::kVoterNotFound);
  REQUIRE(world.settle(5'000));
  CHECK(fourth.raft->is_voter());
  CHECK(fourth.raft->voters().all().size() == 4);
  const auto first = world.add_voter(*world.hosts[4]);
  const auto second = world.remove_voter(fourth);
  CHECK(world.wait(second) == ErrorCode::kRequestTimedOut);
  CHECK(world.wait(first) == ErrorCode::kNone);
  for (auto& host : world.hosts) {
    world.crash(*host, true);
    world.start(*host);
  }
  REQUIRE(world.settle(20'000));
  CHECK(world.hosts[0]->raft->voters().all().size() == 5);
}

TEST_CASE("a leader that is removed hands over once that is committed") {
  World world(3, 14);
  world.make_dynamic();
  auto& old = *world.leader();
  CHECK(world.wait(world.remove_voter(old)) == ErrorCode::kNone);
  for (int i = 0; i < 1'000; ++i) {
    world.step();
  }
  REQUIRE(world.leader() != nullptr);
  CHECK(world.leader()->id != old.id);
  CHECK_FALSE(old.raft->is_voter());
  REQUIRE(world.append("b"));
  CHECK(world.settle(5'000));
}

TEST_CASE("a voter that lags is not added, and a lonely one is not removed") {
  World world(2, 15, 1);
  world.make_dynamic();
  auto& other = *world.hosts[1];
  world.crash(other, false);
  CHECK(world.wait(world.remove_voter(*world.hosts[0])) == ErrorCode::kVoterNotFound);
  world.start(other);
  world.cut = {{1, 2}, {2, 1}};
  CHECK(world.wait(world.add_voter(other)) == ErrorCode::kRequestTimedOut);
  world.cut.clear();
  REQUIRE(world.settle(10'000));
  CHECK(world.wait(world.add_voter(other)) == ErrorCode::kNone);
}

TEST_CASE("a controller that joins by itself votes, also from another directory") {
  World world(4, 16, 3, true);
  world.make_dynamic();
  for (int i = 0; i < 10'000; ++i) {
    world.step();
  }
  auto& joined = *world.hosts[3];
  CHECK(joined.raft->is_voter());
  world.crash(joined, false);
  joined.disk = storage::SimDisk(99);
  joined.directory = 2;
  world.start(joined);
  for (int i = 0; i < 20'000; ++i) {
    world.step();
  }
  CHECK(joined.raft->is_voter());
  CHECK(joined.raft->voters().find(World::key_of(joined)) != nullptr);
  CHECK(joined.raft->voters().all().size() == 4);
}

TEST_CASE("whatever happens while voters come and go, what is committed stays") {
  size_t all_changes = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    World world(5, seed, 3);
    world.make_dynamic();
    storage::SimRandom chance(seed + 2000);
    size_t changes = 0;
    for (int64_t ms = 0; ms < 30'000; ++ms) {
      world.step();
      const uint64_t draw = chance.next() % 4000;
      auto& host = *world.hosts[chance.next() % world.hosts.size()];
      if (draw < 40) {
        world.append(std::to_string(ms));
      } else if (draw < 60 && world.leader() != nullptr) {
        const bool votes = world.leader()->raft->voters().contains(World::key_of(host));
        if (!votes) {
          changes += *world.add_voter(host) ? 0 : 1;
        } else if (world.leader()->raft->voters().all().size() > 2) {
          changes += *world.remove_voter(host) ? 0 : 1;
        }
      } else if (draw < 62 && !host.down) {
        world.crash(host, chance.next() % 2 == 0);
      } else if (draw < 70 && host.down) {
        world.start(host);
      } else if (draw == 70) {
        const auto other = static_cast<int32_t>(chance.next() % world.hosts.size() + 1);
        world.cut.insert({host.id, other});
      } else if (draw < 75) {
        world.cut.clear();
      } else if (draw == 75 && world.leader() != nullptr) {
        world.leader()->raft->resign();
      }
    }
    world.cut.clear();
    for (auto& host : world.hosts) {
      if (host->down) {
        world.start(*host);
      }
    }
    CHECK(world.settle(30'000));
    all_changes += changes;
    CHECK(world.committed.size() > 5);
  }
  CHECK(all_changes > 600);
}

TEST_CASE("whatever happens to the network and the disks, what is committed stays") {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    INFO("seed " << seed);
    World world(seed % 3 == 0 ? 5 : 3, seed);
    storage::SimRandom chance(seed + 1000);
    for (int64_t ms = 0; ms < 30'000; ++ms) {
      world.step();
      const uint64_t draw = chance.next() % 4000;
      auto& host = *world.hosts[chance.next() % world.hosts.size()];
      if (draw < 40) {
        world.append(std::to_string(ms));
      } else if (draw < 42 && !host.down) {
        world.crash(host, chance.next() % 2 == 0);
      } else if (draw < 48 && host.down) {
        world.start(host);
      } else if (draw < 50) {
        const auto other = static_cast<int32_t>(chance.next() % world.hosts.size() + 1);
        world.cut.insert({host.id, other});
      } else if (draw < 53) {
        world.cut.clear();
      } else if (draw < 55) {
        world.loss_percent = chance.next() % 3 * 10;
      } else if (draw == 55 && world.leader() != nullptr) {
        world.leader()->raft->resign();
      }
    }
    world.cut.clear();
    world.loss_percent = 0;
    for (auto& host : world.hosts) {
      if (host->down) {
        world.start(*host);
      }
    }
    CHECK(world.settle(30'000));
    CHECK(world.committed.size() > 5);
  }
}
