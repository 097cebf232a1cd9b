// Plays scripts with groups of all protocols (scenarios/groups). One group, `g`; topics, members
// and the coordinator's surroundings are the script's. After each event a second shard fed only
// with the records must know the same.
#include <catch2/catch.hpp>

#include "broker/coordinator/group/group_fixture.h"
#include "broker/coordinator/scenarios/script.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::broker::scenarios;
using namespace klamm::protocol;

namespace {

constexpr const char* kGroup = "g";

class Script : public GroupFixture {
 public:
  Script() {
    surroundings.unique_suffix = [this] { return std::to_string(++next_id); };
    surroundings.initialize_shared = [this](const std::string&, int32_t epoch,
                                            const ShareStarts& starts, auto done) {
      Tasks places;
      for (const auto& [place, offset] : starts) {
        places[name_of_topic(place.first)].insert(place.second);
      }
      say("* share coordinators begin with " + text_of(places) + " at epoch " +
          std::to_string(epoch));
      done(ErrorCode::kNone);
    };
    surroundings.create_topics = [this](const std::vector<InternalTopic>& topics, auto done) {
      for (const auto& wanted : topics) {
        say("* topic " + wanted.name + " " + std::to_string(wanted.partitions) + " is made");
        topic(wanted.name, wanted.partitions);
      }
      done("");
    };
    restart();
  }

  std::vector<std::string> play(const Event& event) {
    said_.clear();
    const size_t before = sink.log.size();
    const std::string& what = event.word(0);
    what == "consumer"  ? consumer(event)
    : what == "classic" ? classic(event)
    : what == "share"   ? share(event)
    : what == "streams" ? streams(event)
                        : other(event);
    check_twin();
    return outcome_of(
        std::span(sink.log).subspan(before),
        [this](const auto& record) {
          return text_of(record, [this](const Uuid& id) { return name_of_topic(id); });
        },
        said_);
  }

 private:
  void say(std::string line) { said_.push_back(std::move(line)); }
  std::string name_of_topic(const Uuid& id) const {
    const auto topic = image->topic(id);
    return topic == nullptr ? "gone" : topic->name;
  }
  Uuid id_of(const std::string& name) const { return image->topic(name)->id; }

  template <class Topics>
  Tasks named(const Topics& topics) const {
    Tasks places;
    for (const auto& each : topics) {
      places[name_of_topic(each.topic_id)].insert(each.partitions.begin(), each.partitions.end());
    }
    return places;
  }
  static std::string head(const std::string& member, ErrorCode code) {
    return "= " + member + " " + std::string(name_of(code));
  }

  void other(const Event& event) {
    const std::string& what = event.word(0);
    if (what == "topic") {
      topic(event.word(1), event.number(2));
    } else if (what == "remove-topic") {
      remove_topic(event.word(1));
    } else if (what == "advance") {
      advance(event.number(1));
    } else if (what == "commit") {
      CommitRequest request{kGroup, event.word(1), {}, event.number(2), {}};
      auto& offset = request.offsets.emplace_back();
      offset.topic = event.word(3);
      offset.partition = event.number(4);
      offset.value.offset = event.number(5);
      offset.value.topic_id = id_of(event.word(3));
      shard->commit(request, now,
                    [this, member = event.word(1)](ErrorCode code) { say(head(member, code)); });
    } else if (what == "delay") {
      config.streams.initial_rebalance_delay_ms = event.number(1);
    } else if (what == "standbys") {
      config.streams.standby_replicas = event.number(1);
    } else if (what == "hold") {
      sink.hold = true;
    } else if (what == "release") {
      sink.hold = false;
      for (auto& committed : std::exchange(sink.held, {})) {
        committed(ErrorCode::kNone);
      }
    } else if (what == "fail") {
      sink.failure = ErrorCode::kNotCoordinator;
    } else if (what == "work") {
      sink.failure = ErrorCode::kNone;
    } else if (what == "load") {
      shard->unloaded();
      shard = make_shard(sink);
      sink.replay_into(*shard, now);
      sink.shard = shard.get();
      shard->loaded(now);
    } else {
      FAIL("no event: " << what);
    }
    std::vector<ListGroupsResponse::ListedGroup> groups;
    shard->list(groups);
    for (const auto& group : groups) {
      say("  " + group.group_type + " group is " + group.group_state);
    }
  }

  // Whose heartbeat it is, and at which epoch.
  template <class Request>
  static void address(const Event& event, Request& request) {
    const std::string& what = event.word(2);
    request.group_id = kGroup;
    request.member_id = event.word(1);
    request.member_epoch = what == "join"           ? 0
                           : what == "leave"        ? -1
                           : what == "leave-static" ? -2
                                                    : event.number(3);
  }
  template <class Response>
  void tell_partitions(const std::string& member, const Response& response) {
    say(head(member, response.error_code) + " epoch " + std::to_string(response.member_epoch) +
        (response.assignment ? " has " + text_of(named(response.assignment->topic_partitions))
                             : ""));
  }

  void consumer(const Event& event) {
    const std::string member = event.word(1);
    const std::string& what = event.word(2);
    ConsumerGroupHeartbeatRequest request;
    address(event, request);
    if (event.has("instance")) {
      request.instance_id = event.option("instance");
    }
    if (what == "join") {
      request.rebalance_timeout_ms = 30'000;
      request.topic_partitions.emplace();
      request.server_assignor = event.option("assignor", "range");
      event.has("regex") ? void(request.subscribed_topic_regex = event.option("regex"))
                         : void(request.subscribed_topic_names = split(event.word(3), ','));
    } else if (event.has("owns")) {
      for (const auto& [topic, partitions] : parse_places(event.option("owns"))) {
        request.topic_partitions.emplace().push_back(
            {.topic_id = id_of(topic), .partitions = {partitions.begin(), partitions.end()}});
      }
      request.topic_partitions = request.topic_partitions.value_or(
          std::vector<ConsumerGroupHeartbeatRequest::TopicPartitions>{});
    }
    shard->consumer_heartbeat(
        request, {"client", "/host", 1}, now,
        [this, member](const auto& response) { tell_partitions(member, response); });
  }

  void share(const Event& event) {
    const std::string member = event.word(1);
    const std::string& what = event.word(2);
    ShareGroupHeartbeatRequest request;
    address(event, request);
    if (what == "join") {
      request.subscribed_topic_names = split(event.word(3), ',');
    }
    shard->share_heartbeat(
        request, {"client", "/host", 1}, now,
        [this, member](const auto& response) { tell_partitions(member, response); });
  }

  void streams(const Event& event) {
    const std::string member = event.word(1);
    const std::string& what = event.word(2);
    StreamsGroupHeartbeatRequest request;
    address(event, request);
    if (event.has("instance")) {
      request.instance_id = event.option("instance");
    }
    if (what == "join") {
      request.rebalance_timeout_ms = 30'000;
      request.process_id = event.option("process", "p");
      auto& subtopology = request.topology.emplace().subtopologies.emplace_back();
      subtopology.subtopology_id = "0";
      subtopology.source_topics = split(event.word(3), ',');
      if (event.has("store")) {
        subtopology.state_changelog_topics = {{.name = event.option("store")}};
      }
    }
    if (what == "join" || event.has("runs")) {
      list_tasks(parse_places(event.option("runs")), request.active_tasks.emplace());
      list_tasks(parse_places(event.option("keeps")), request.standby_tasks.emplace());
      request.warmup_tasks.emplace();
    }
    shard->streams_heartbeat(
        request, {"client", "/host", 1}, now, [this, member](const auto& response) {
          std::string text =
              head(member, response.error_code) + " epoch " + std::to_string(response.member_epoch);
          if (response.active_tasks) {
            text += " runs " + text_of(tasks_of(*response.active_tasks)) + " keeps " +
                    text_of(tasks_of(*response.standby_tasks));
          }
          for (const auto& status : *response.status) {
            text += " (" + status.status_detail + ")";
          }
          say(text);
        });
  }

  void classic(const Event& event) {
    // A dash: one that has no id yet.
    const std::string member = event.word(1) == "-" ? "" : event.word(1);
    const std::string& what = event.word(2);
    if (what == "join") {
      JoinGroupRequest request;
      request.group_id = kGroup;
      request.member_id = member;
      request.session_timeout_ms = 10'000;
      request.rebalance_timeout_ms = 30'000;
      request.protocol_type = "consumer";
      for (const auto& protocol : split(event.option("protocols", "range"), ',')) {
        request.protocols.push_back({.name = protocol, .metadata = Bytes::copy_of(member)});
      }
      if (event.has("instance")) {
        request.group_instance_id = event.option("instance");
      }
      shard->join(request, {.client_id = "c", .client_host = "/h", .can_skip_assignment = true},
                  now, [this](const JoinGroupResponse& response) {
                    std::string members;
                    for (const auto& each : response.members) {
                      members += " " + each.member_id;
                    }
                    say(head(response.member_id, response.error_code) + " generation " +
                        std::to_string(response.generation_id) + " leader " + response.leader +
                        (members.empty() ? "" : " of" + members));
                  });
    } else if (what == "sync") {
      SyncGroupRequest request;
      request.group_id = kGroup;
      request.member_id = member;
      request.generation_id = event.number(3);
      for (const auto& [to, assignment] : event.options) {
        request.assignments.push_back({.member_id = to, .assignment = Bytes::copy_of(assignment)});
      }
      shard->sync(request, now, [this, member](const SyncGroupResponse& response) {
        say(head(member, response.error_code) + " has " + std::string(response.assignment.view()));
      });
    } else if (what == "beat") {
      HeartbeatRequest request;
      request.group_id = kGroup;
      request.member_id = member;
      request.generation_id = event.number(3);
      say(head(member, shard->heartbeat(request, now)));
    } else {
      say(head(member, shard->leave(kGroup, member, std::nullopt, now)));
    }
  }

  void check_twin() {
    const auto other = twin();
    const auto same = [](const auto* mine, const auto* theirs) {
      return (mine == nullptr) == (theirs == nullptr) && (mine == nullptr || *mine == *theirs);
    };
    CHECK(same(shard->consumer_state(kGroup), other->consumer_state(kGroup)));
    CHECK(same(shard->share_state(kGroup), other->share_state(kGroup)));
    CHECK(same(shard->streams_state(kGroup), other->streams_state(kGroup)));
  }

  std::vector<std::string> said_;
};

}  // namespace

TEST_CASE("scenarios of groups") {
  run_all("groups", [] {
    auto script = std::make_shared<Script>();
    return Play([script](const Event& event) { return script->play(event); });
  });
}
