// Plays scripts with one share partition: its leader's state machine (scenarios/share_partition)
// and its coordinator's (scenarios/share_state). After each event a second share coordinator fed
// only with the records must know the same.
#include <catch2/catch.hpp>

#include "broker/coordinator/fake_sink.h"
#include "broker/coordinator/record_codec.h"
#include "broker/coordinator/scenarios/script.h"
#include "broker/coordinator/share_state/share_state_fixture.h"
#include "broker/coordinator/share_state/share_state_shard.h"
#include "broker/share/share_partition.h"
#include "protocol/generated/share_snapshot_value.h"
#include "protocol/generated/share_update_value.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::broker::scenarios;
using protocol::Reader;
using protocol::ShareSnapshotValue;
using protocol::ShareUpdateValue;

namespace {

const std::map<std::string, DeliveryState> kStates = {
    {"available", DeliveryState::kAvailable},
    {"acknowledged", DeliveryState::kAcknowledged},
    {"archived", DeliveryState::kArchived}};
const std::map<std::string, AckType> kAckTypes = {{"gap", AckType::kGap},
                                                  {"accept", AckType::kAccept},
                                                  {"release", AckType::kRelease},
                                                  {"reject", AckType::kReject},
                                                  {"renew", AckType::kRenew}};

std::string name_of(DeliveryState state) {
  for (const auto& [name, known] : kStates) {
    if (known == state) {
      return name;
    }
  }
  return "?";
}

// `first-last`, or one offset.
BatchRange parse_range(const std::string& text) {
  const auto parts = split(text, '-');
  return {std::stoll(parts.front()), std::stoll(parts.back())};
}
std::string text_of(int64_t first, int64_t last) {
  return std::to_string(first) + (first == last ? "" : "-" + std::to_string(last));
}

std::string text_of(const std::vector<DeliveryBatch>& batches) {
  std::string text;
  for (const DeliveryBatch& batch : batches) {
    text += " " + text_of(batch.first, batch.last) + ":" + name_of(batch.state) + ":" +
            std::to_string(batch.deliveries);
  }
  return text;
}
// `first-last:state:deliveries`, from the event's words on.
std::vector<DeliveryBatch> parse_batches(const Event& event, size_t from) {
  std::vector<DeliveryBatch> batches;
  for (size_t i = from; i < event.words.size(); ++i) {
    const auto parts = split(event.word(i), ':');
    const BatchRange range = parse_range(parts.at(0));
    batches.push_back({range.first, range.last, kStates.at(parts.at(1)),
                       static_cast<int16_t>(std::stoi(parts.at(2)))});
  }
  return batches;
}

class StateScript {
 public:
  StateScript() { load(); }

  std::vector<std::string> play(const Event& event) {
    said_.clear();
    const size_t before = sink_.log.size();
    take(event);
    CHECK(fed_with_records(nowhere_)->states() == shard_->states());
    return outcome_of(
        std::span(sink_.log).subspan(before), [](const auto& record) { return text_of(record); },
        said_);
  }

 private:
  static inline const SharePartitionKey kKey{"g", {1, 1}, 0};

  template <class Value>
  static std::string text_of(const std::string& kind, const Value& value) {
    std::string text = kind + " " + std::to_string(value.snapshot_epoch) +
                       " leader=" + std::to_string(value.leader_epoch) +
                       " start=" + std::to_string(value.start_offset) +
                       " complete=" + std::to_string(value.delivery_complete_count);
    std::vector<DeliveryBatch> batches;
    for (const auto& batch : value.state_batches) {
      batches.push_back({batch.first_offset, batch.last_offset,
                         static_cast<DeliveryState>(batch.delivery_state), batch.delivery_count});
    }
    return text + ::text_of(batches);
  }
  static std::string text_of(const CoordinatorRecord& record) {
    constexpr int16_t kSnapshot = 0;
    if (!record.value) {
      return "forgotten";
    }
    if (Reader(record.key).fixed<int16_t>() == kSnapshot) {
      std::optional<ShareSnapshotValue> value;
      REQUIRE(read_value(record, value));
      return text_of("snapshot", *value) + " state=" + std::to_string(value->state_epoch);
    }
    std::optional<ShareUpdateValue> value;
    REQUIRE(read_value(record, value));
    return text_of("update of", *value);
  }

  std::unique_ptr<ShareStateShard> fed_with_records(RecordSink& sink) {
    auto shard = std::make_unique<ShareStateShard>(sink, config_, [this] { return image_; });
    sink_.replay_into(*shard, sink_.now);
    return shard;
  }
  void load() {
    shard_ = fed_with_records(sink_);
    sink_.shard = shard_.get();
    shard_->loaded(sink_.now);
  }

  void say(ErrorCode code) { said_.push_back("= " + std::string(protocol::name_of(code))); }
  void say(const Result<SharePartitionState>& state) {
    if (!state) {
      return say(state.error().code);
    }
    said_.push_back("= start=" + std::to_string(state->start_offset) + " complete=" +
                    std::to_string(state->delivery_complete_count) + ::text_of(state->batches));
  }
  void take(const Event& event) {
    const std::string& what = event.word(0);
    const auto code = [this](ErrorCode outcome) { say(outcome); };
    if (what == "initialize") {
      shard_->initialize(kKey, event.number(1), std::stoll(event.option("start", "-1")), sink_.now,
                         code);
    } else if (what == "read") {
      shard_->read(kKey, event.number(1), sink_.now, [this](const auto& state) { say(state); });
    } else if (what == "write") {
      shard_->write(
          kKey,
          {std::stoi(event.option("state", "-1")), std::stoi(event.option("leader", "-1")),
           std::stoll(event.option("start", "-1")), std::stoi(event.option("complete", "0")),
           parse_batches(event, 1)},
          sink_.now, code);
    } else if (what == "summary") {
      say(shard_->summary(kKey));
    } else if (what == "remove") {
      shard_->remove(kKey, code);
    } else if (what == "topic-is-deleted") {
      image_ = std::make_shared<replication::MetadataImage>();
    } else if (what == "advance") {
      sink_.now += event.number(1);
      shard_->tick(sink_.now);
    } else if (what == "load") {
      load();
    } else {
      FAIL("no event: " << what);
    }
  }

  FakeSink sink_;
  FakeSink nowhere_;
  ShareStateConfig config_{.updates_per_snapshot = 3, .cold_snapshot_ms = 60'000};
  replication::ImagePtr image_ = image_with_topic(kKey.topic_id, 1);
  std::unique_ptr<ShareStateShard> shard_;
  std::vector<std::string> said_;
};

class PartitionScript {
 public:
  std::vector<std::string> play(const Event& event) {
    said_.clear();
    const int64_t start = partition_->start_offset();
    take(event);
    if (partition_->start_offset() != start) {
      say("* start " + std::to_string(partition_->start_offset()));
    }
    return said_;
  }

 private:
  void say(std::string line) { said_.push_back(std::move(line)); }

  // Written at once, or when the script says what became of it.
  void keep(const ShareChange& change) {
    if (change.id == 0) {
      return;
    }
    say("+" + ::text_of(change.batches));
    if (hold_) {
      held_.push_back(change);
    } else {
      settle(change, true);
    }
  }
  void settle(const ShareChange& change, bool is_kept) {
    if (is_kept) {
      kept_ = combine(kept_, change.batches, -1);
    }
    partition_->settle(change.id, is_kept, now_);
  }
  void settle_all(bool are_kept) {
    hold_ = false;
    for (const ShareChange& change : std::exchange(held_, {})) {
      settle(change, are_kept);
    }
  }

  void acquire(const Event& event) {
    std::vector<BatchRange> log;
    for (const auto& range : split(event.option("log"), ',')) {
      log.push_back(parse_range(range));
    }
    const AcquireTerms terms{event.word(1), std::stoll(event.option("max", "500")),
                             event.has("exactly"), 0};
    for (const Acquired& range : partition_->acquire(terms, log, limits_, now_)) {
      say("* " + ::text_of(range.first, range.last) + " to " + event.word(1) + ", delivery " +
          std::to_string(range.deliveries));
    }
  }
  void acknowledge(const Event& event) {
    const BatchRange range = parse_range(event.word(2));
    Acknowledgement ack{range.first, range.last, {}};
    for (const auto& type : split(event.word(3), ',')) {
      ack.types.push_back(kAckTypes.at(type));
    }
    const auto change = partition_->acknowledge(event.word(1), std::span(&ack, 1), limits_, now_);
    if (change) {
      keep(*change);
    }
    say("= " + std::string(protocol::name_of(change ? ErrorCode::kNone : change.error().code)));
  }
  void take(const Event& event) {
    const std::string& what = event.word(0);
    if (what == "acquire") {
      acquire(event);
    } else if (what == "acknowledge") {
      acknowledge(event);
    } else if (what == "leave") {
      keep(partition_->release(event.word(1), limits_));
    } else if (what == "advance") {
      now_ += event.number(1);
      keep(partition_->expire(limits_, now_));
    } else if (what == "log-starts-at") {
      partition_->advance_start(event.number(1));
    } else if (what == "hold") {
      hold_ = true;
    } else if (what == "kept" || what == "not-kept") {
      settle_all(what == "kept");
    } else if (what == "load") {  // another leader, with what was kept
      held_.clear();
      partition_ = std::make_unique<SharePartition>(partition_->start_offset(), kept_);
      say("* start " + std::to_string(partition_->start_offset()) + ", next " +
          std::to_string(partition_->next_offset()));
    } else {
      FAIL("no event: " << what);
    }
  }

  ShareLimits limits_{.lock_ms = 30'000, .deliveries_max = 3};
  int64_t now_ = 1'000;
  bool hold_ = false;
  std::vector<ShareChange> held_;
  std::vector<DeliveryBatch> kept_;
  std::unique_ptr<SharePartition> partition_ = std::make_unique<SharePartition>(0, kept_);
  std::vector<std::string> said_;
};

template <class Script>
Play begin() {
  auto script = std::make_shared<Script>();
  return [script](const Event& event) { return script->play(event); };
}

}  // namespace

TEST_CASE("scenarios of share partitions") { run_all("share_partition", begin<PartitionScript>); }

TEST_CASE("scenarios of the share coordinator") { run_all("share_state", begin<StateScript>); }
