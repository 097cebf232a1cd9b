// Streams groups (KIP-1071) in virtual time. After every step a second shard fed only with the
// records must know the same, and no task may be open twice where that is forbidden.
#include "broker/coordinator/group/streams/streams_group.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/group/group_fixture.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;

namespace {

constexpr const char* kGroup = "g";
using Request = StreamsGroupHeartbeatRequest;
using Response = StreamsGroupHeartbeatResponse;

// A member as a Streams thread sees it: what it was told last, and what it therefore runs.
struct Thread {
  std::string id;
  std::string process;
  int32_t epoch = 0;
  TaskSets runs;
  std::optional<std::string> instance_id;
};

// Counts words: lines are repartitioned by word, which a second subtopology counts in a store.
Request::Topology word_count() {
  Request::Topology topology;
  topology.subtopologies.resize(2);
  topology.subtopologies[0].subtopology_id = "0";
  topology.subtopologies[0].source_topics = {"lines"};
  topology.subtopologies[0].repartition_sink_topics = {"words"};
  topology.subtopologies[1].subtopology_id = "1";
  topology.subtopologies[1].repartition_source_topics = {{.name = "words"}};
  topology.subtopologies[1].state_changelog_topics = {{.name = "store"}};
  return topology;
}

struct StreamsFixture : GroupFixture {
  bool makes_topics = true;
  std::string creation_error;
  Request::Topology topology_of_all = word_count();

  StreamsFixture() {
    config.streams.initial_rebalance_delay_ms = 0;
    surroundings.create_topics = [this](const std::vector<InternalTopic>& topics, auto done) {
      for (const auto& wanted : topics) {
        makes_topics ? void(topic(wanted.name, wanted.partitions)) : void();
      }
      done(creation_error);
    };
    restart();
  }
  Response send(const Request& request) {
    std::optional<Response> answer;
    shard->streams_heartbeat(request, {"client", "/host", 1}, now,
                             [&](Response response) { answer = std::move(response); });
    REQUIRE(answer.has_value());
    check_twin();
    return *answer;
  }
  static Request request_of(const Thread& thread) {
    Request request;
    request.group_id = kGroup;
    request.member_id = thread.id;
    request.member_epoch = thread.epoch;
    request.instance_id = thread.instance_id;
    list_tasks(thread.runs.active, request.active_tasks.emplace());
    list_tasks(thread.runs.standby, request.standby_tasks.emplace());
    list_tasks(thread.runs.warmup, request.warmup_tasks.emplace());
    return request;
  }
  // One heartbeat, after which the thread runs what it is told.
  Response beat(Thread& thread) {
    if (thread.epoch == 0) {
      thread.runs = {};
    }
    Request request = request_of(thread);
    if (thread.epoch == 0) {
      request.rebalance_timeout_ms = 10'000;
      request.process_id = thread.process;
      request.topology = topology_of_all;
    }
    Response response = send(request);
    if (response.error_code == ErrorCode::kNone) {
      thread.epoch = response.member_epoch;
      if (response.active_tasks) {
        thread.runs = {tasks_of(*response.active_tasks), tasks_of(*response.standby_tasks),
                       tasks_of(*response.warmup_tasks)};
      }
    }
    return response;
  }
  Response leave(const Thread& thread, int32_t epoch = -1) {
    Request request;
    request.group_id = kGroup;
    request.member_id = thread.id;
    request.member_epoch = epoch;
    request.instance_id = thread.instance_id;
    return send(request);
  }
  std::string state() const {
    const auto described = shard->describe_streams_group(kGroup);
    return described ? described->group_state : "none";
  }
  void settle(std::vector<Thread*> threads) {
    for (int round = 0; round < 8; ++round) {
      for (Thread* const thread : threads) {
        CHECK(beat(*thread).error_code == ErrorCode::kNone);
      }
    }
  }
  void check_twin() {
    const auto other = twin();
    const auto* const mine = shard->streams_state(kGroup);
    const auto* const theirs = other->streams_state(kGroup);
    REQUIRE((mine == nullptr) == (theirs == nullptr));
    if (mine != nullptr) {
      CHECK(*mine == *theirs);
      check_tasks(*mine);
    }
  }
  // An active task is one member's, and a process has the state of a task open in one member.
  static void check_tasks(const StreamsState& group) {
    std::map<std::pair<std::string, int32_t>, std::string> running;
    std::map<std::tuple<std::string, std::string, int32_t>, std::string> open;
    for (const auto& [id, member] : group.members()) {
      const auto note = [&, &id = id, &member = member](const std::string& subtopology,
                                                        int32_t partition, bool is_active) {
        if (is_active) {
          CHECK(running.try_emplace({subtopology, partition}, id).first->second == id);
        }
        CHECK(open.try_emplace({member->process_id, subtopology, partition}, id).first->second ==
              id);
      };
      for (const auto* each : {&member->assigned, &member->pending_revocation}) {
        for (const auto& [subtopology, partitions] : each->active) {
          for (const auto& [partition, epoch] : partitions) {
            note(subtopology, partition, true);
            CHECK(epoch <= std::max(member->epoch, 0));
          }
        }
        for (const auto* tasks : {&each->standby, &each->warmup}) {
          for (const auto& [subtopology, partitions] : *tasks) {
            for (const int32_t partition : partitions) {
              note(subtopology, partition, false);
            }
          }
        }
      }
    }
  }
  static std::vector<int8_t> statuses(const Response& response) {
    std::vector<int8_t> codes;
    for (const auto& status : *response.status) {
      codes.push_back(status.status_code);
    }
    return codes;
  }
};

}  // namespace

TEST_CASE("a streams group's first member has its tasks once the internal topics are made") {
  StreamsFixture f;
  f.topic("lines", 3);
  Thread a{"a", "p"};
  const Response joined = f.beat(a);
  CHECK(f.statuses(joined) == std::vector<int8_t>{3});
  CHECK(a.runs == TaskSets());
  CHECK(f.state() == "NotReady");
  CHECK(f.image->topic("words")->partitions.size() == 3);
  CHECK(f.image->topic("store")->partitions.size() == 3);
  f.beat(a);
  CHECK(a.runs.active == Tasks{{"0", {0, 1, 2}}, {"1", {0, 1, 2}}});
  CHECK(f.state() == "Stable");
}

TEST_CASE("why internal topics are not made is told to the members") {
  StreamsFixture f;
  f.topic("lines", 1);
  f.makes_topics = false;
  f.creation_error = "store: no room";
  Thread a{"a", "p"};
  f.beat(a);
  const Response next = f.beat(a);
  CHECK(f.statuses(next) == std::vector<int8_t>{3});
  CHECK(next.status->front().status_detail ==
        "Internal topics are missing: store, words; store: no room");
}

TEST_CASE("a task changes threads only after it was given back") {
  StreamsFixture f;
  f.topic("lines", 2);
  Thread a{"a", "p"};
  Thread b{"b", "q"};
  f.settle({&a});
  f.beat(b);
  CHECK(b.runs == TaskSets());
  const TaskSets before = a.runs;
  f.beat(a);
  CHECK(a.runs != before);
  f.beat(b);
  CHECK(b.runs == TaskSets());
  f.beat(a);
  f.beat(b);
  CHECK(b.runs != TaskSets());
  CHECK(f.state() == "Stable");
}

TEST_CASE("what a thread no longer runs becomes its standby at once, and comes back to it") {
  StreamsFixture f;
  f.config.streams.standby_replicas = 1;
  f.topic("lines", 2);
  Thread a{"a", "p"};
  Thread b{"b", "q"};
  f.settle({&a});
  f.beat(b);
  f.beat(a);
  REQUIRE(a.runs.active.at("1").size() == 1);
  CHECK(a.runs.standby.at("1").size() == 1);
  f.settle({&a, &b});
  CHECK(b.runs.standby.at("1") == a.runs.active.at("1"));
  const Tasks kept = a.runs.standby;
  CHECK(f.leave(b).error_code == ErrorCode::kNone);
  f.beat(a);
  CHECK(a.runs.active == Tasks{{"0", {0, 1}}, {"1", {0, 1}}});
  CHECK(a.runs.standby.empty());
}

TEST_CASE("a standby stays one until the task is free") {
  StreamsFixture f;
  f.config.streams.standby_replicas = 1;
  f.topic("lines", 1);
  Thread a{"a", "p"};
  Thread b{"b", "q"};
  f.settle({&a, &b});
  Thread& runner = contains(a.runs.active, "1", 0) ? a : b;
  Thread& keeper = &runner == &a ? b : a;
  REQUIRE(contains(keeper.runs.standby, "1", 0));
  f.advance(30'000);
  f.beat(keeper);
  f.advance(20'000);  // the runner is out
  f.beat(keeper);
  CHECK(contains(keeper.runs.active, "1", 0));
}

TEST_CASE("members of a streams group are fenced, fall silent, and take too long") {
  StreamsFixture f;
  f.topic("lines", 2);
  Thread a{"a", "p"};
  f.settle({&a});
  SECTION("a wrong epoch") {
    Thread other = a;
    other.epoch = a.epoch + 1;
    CHECK(f.beat(other).error_code == ErrorCode::kFencedMemberEpoch);
    Thread nobody{"n", "p", 1};
    CHECK(f.beat(nobody).error_code == ErrorCode::kUnknownMemberId);
  }
  SECTION("silence") {
    f.advance(46'000);
    CHECK(f.state() == "Empty");
  }
  SECTION("tasks that are not given back") {
    Thread b{"b", "q"};
    f.beat(b);
    Thread stubborn = a;
    f.beat(stubborn);
    for (int i = 0; i < 3; ++i) {
      f.advance(4'000);
      f.beat(b);
      Thread again = a;  // still reports all
      again.epoch = stubborn.epoch;
      f.beat(again);
    }
    CHECK(f.shard->streams_state(kGroup)->member("a") == nullptr);
  }
  SECTION("records that cannot be written") {
    f.sink.failure = ErrorCode::kNotCoordinator;
    f.advance(46'000);
    CHECK(f.state() != "Empty");
    f.sink.failure = ErrorCode::kNone;
    f.advance(2'000);
    CHECK(f.state() == "Empty");
  }
}

TEST_CASE("the first assignment of a streams group waits for more members") {
  StreamsFixture f;
  f.config.streams.initial_rebalance_delay_ms = 3'000;
  f.topic("lines", 2);
  Thread a{"a", "p"};
  Thread b{"b", "q"};
  CHECK(f.statuses(f.beat(a)) == std::vector<int8_t>{5, 3});
  f.beat(b);
  f.beat(a);
  CHECK(a.runs == TaskSets());
  f.advance(3'000);
  f.check_twin();
  f.beat(a);
  f.beat(b);
  CHECK(a.runs.active.size() == 2);
  CHECK(b.runs.active.size() == 2);
  CHECK(f.state() == "Stable");
}

TEST_CASE("a static thread comes back to its tasks by another name") {
  StreamsFixture f;
  f.topic("lines", 2);
  Thread a{"a", "p", 0, {}, "i"};
  f.settle({&a});
  const TaskSets had = a.runs;
  Thread early{"b", "p", 0, {}, "i"};
  CHECK(f.beat(early).error_code == ErrorCode::kUnreleasedInstanceId);
  CHECK(f.leave(a, -2).error_code == ErrorCode::kNone);
  const int32_t epoch = f.shard->streams_state(kGroup)->epoch();
  Thread again{"b", "p", 0, {}, "i"};
  f.beat(again);
  CHECK(again.runs == had);
  CHECK(f.shard->streams_state(kGroup)->epoch() == epoch);
  CHECK(f.beat(a).error_code == ErrorCode::kFencedInstanceId);
}

TEST_CASE("offsets of a streams group are its members', by task and epoch") {
  StreamsFixture f;
  f.topic("lines", 2);
  Thread a{"a", "p"};
  f.settle({&a});
  const auto commit = [&](int32_t epoch, const std::string& topic,
                          const std::string& member = "a") {
    ErrorCode code = ErrorCode::kUnknownServerError;
    f.shard->commit({kGroup, member, std::nullopt, epoch, {{topic, 0, {}}}}, f.now,
                    [&](ErrorCode outcome) { code = outcome; });
    return code;
  };
  CHECK(commit(a.epoch, "lines") == ErrorCode::kNone);
  CHECK(commit(a.epoch + 1, "lines") == ErrorCode::kStaleMemberEpoch);
  CHECK(commit(a.epoch, "lines", "b") == ErrorCode::kUnknownMemberId);
  const int32_t before = a.epoch;
  Thread b{"b", "q"};
  f.beat(b);
  f.settle({&a, &b});
  REQUIRE(contains(a.runs.active, "0", 0));
  CHECK(commit(before, "lines") == ErrorCode::kNone);  // it has stayed
  CHECK(commit(before, "words") == ErrorCode::kNone);
  CHECK(commit(before, "elsewhere") == ErrorCode::kStaleMemberEpoch);
  CHECK(f.shard->check_fetch(kGroup, "a", a.epoch) == ErrorCode::kNone);
  CHECK(f.shard->check_fetch(kGroup, "a", before) == ErrorCode::kStaleMemberEpoch);
}

TEST_CASE("a streams group that is empty is deleted whole, and gives its name to a classic one") {
  StreamsFixture f;
  f.topic("lines", 1);
  Thread a{"a", "p"};
  f.settle({&a});
  ErrorCode code = ErrorCode::kNone;
  f.shard->remove_group(kGroup, [&](ErrorCode outcome) { code = outcome; });
  CHECK(code == ErrorCode::kNonEmptyGroup);
  f.leave(a);
  f.shard->remove_group(kGroup, [&](ErrorCode outcome) { code = outcome; });
  CHECK(code == ErrorCode::kNone);
  CHECK(f.state() == "none");
  f.check_twin();
}

TEST_CASE("an application shuts down together") {
  StreamsFixture f;
  f.topic("lines", 1);
  Thread a{"a", "p"};
  Thread b{"b", "q"};
  f.settle({&a, &b});
  Request request = f.request_of(a);
  request.shutdown_application = true;
  CHECK(f.statuses(f.send(request)) == std::vector<int8_t>{4});
  CHECK(f.statuses(f.beat(b)) == std::vector<int8_t>{4});
  f.leave(a);
  f.leave(b);
  Thread again{"c", "p"};
  CHECK(f.statuses(f.beat(again)).empty());
}

namespace {

// Threads come, go, fall silent and come back; topics grow; the number of standbys changes.
struct RandomStreams {
  explicit RandomStreams(uint64_t seed) : random(seed * 0x9E3779B97F4A7C15ull) {
    f.topic("lines", 4);
    f.config.streams.standby_replicas = static_cast<int32_t>(seed % 3);
  }
  uint64_t pick(uint64_t below) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return (random >> 33) % below;
  }
  void step() {
    const uint64_t what = pick(12);
    if (threads.empty() || (what == 0 && threads.size() < 6)) {
      Thread fresh{"m" + std::to_string(++names), "p" + std::to_string(pick(3))};
      f.beat(fresh);
      threads.push_back(fresh);
      return;
    }
    Thread& thread = threads[pick(threads.size())];
    if (what == 1) {
      f.leave(thread);  // which may be out already
      std::erase_if(threads, [id = thread.id](const auto& each) { return each.id == id; });
    } else if (what == 2) {
      thread.epoch = 0;
      f.beat(thread);
    } else if (what == 3) {
      f.config.streams.standby_replicas = static_cast<int32_t>(pick(3));
    } else if (what == 4) {
      f.advance(static_cast<int64_t>(pick(20'000)));
    } else if (f.beat(thread).error_code != ErrorCode::kNone) {
      std::erase_if(threads, [id = thread.id](const auto& each) { return each.id == id; });
    }
  }
  void settle() {
    for (int round = 0; round < 12; ++round) {
      std::erase_if(threads,
                    [&](auto& each) { return f.beat(each).error_code != ErrorCode::kNone; });
      f.advance(1'000);
    }
  }
  void check_everything_runs_once() {
    CHECK(f.state() == "Stable");
    size_t active = 0;
    size_t standby = 0;
    std::set<std::string> processes;
    for (const Thread& thread : threads) {
      processes.insert(thread.process);
      for (const auto& [subtopology, partitions] : thread.runs.active) {
        active += partitions.size();
      }
      for (const auto& [subtopology, partitions] : thread.runs.standby) {
        standby += partitions.size();
      }
    }
    CHECK(active == 8);
    const auto copies = static_cast<size_t>(f.config.streams.standby_replicas);
    CHECK(standby == 4 * std::min(copies, processes.size() - 1));
  }

  StreamsFixture f;
  uint64_t random;
  std::vector<Thread> threads;
  int names = 0;
};

}  // namespace

TEST_CASE("whatever happens, tasks run once, and in the end all run with their standbys") {
  int with_members = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    RandomStreams group(seed);
    for (int step = 0; step < 60; ++step) {
      group.step();
    }
    group.settle();
    if (!group.threads.empty()) {
      ++with_members;
      group.check_everything_runs_once();
    }
  }
  CHECK(with_members > 30);
}
