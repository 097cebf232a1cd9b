#include "replication/raft/raft.h"

#include <catch2/catch.hpp>

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

  World(size_t count, uint64_t seed) : random(seed) {
    for (size_t i = 0; i < count; ++i) {
      auto& host = hosts.emplace_back(std::make_unique<Host>(seed * 31 + i));
      host->world = this;
      host->id = static_cast<int32_t>(i + 1);
      voters += (i == 0 ? "" : ",") + std::to_string(host->id) + "@h:" + std::to_string(host->id);
    }
    for (auto& host : hosts) {
      start(*host);
    }
  }

  void start(Host& host) {
    host.log = *RaftLog::open(host.disk, clock, {.folder = "/m"});
    host.file = std::make_unique<ElectionFile>(host.disk, "/m");
    host.committed = -1;
    host.down = false;
    RaftOptions options{.self = {host.id, {}}, .cluster_id = "c"};
    options.static_voters = *VoterSet::parse(voters, "CONTROLLER");
    options.listeners = {{"CONTROLLER", {"h", static_cast<uint16_t>(host.id)}}};
    options.is_controller = host.id <= voters_max;
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
    const auto send = [&](const auto& response) {
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

  int32_t voters_max = INT32_MAX;
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
