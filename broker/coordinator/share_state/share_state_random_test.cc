// Leaders, old and new, write the state of some share partitions as they like, from a seed; a model
// that knows each offset by itself says what must be kept. After every step a second shard fed only
// with the records must know the same.
#include <catch2/catch.hpp>
#include <map>

#include "broker/coordinator/fake_sink.h"
#include "broker/coordinator/share_state/share_state_fixture.h"
#include "broker/coordinator/share_state/share_state_shard.h"
#include "storage/env/clock.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

struct Known {
  int32_t state_epoch = 0;
  int32_t leader_epoch = 0;
  int64_t start = -1;
  int32_t complete = -1;
  std::map<int64_t, std::pair<int16_t, DeliveryState>> offsets;  // deliveries and state
};

struct RandomState {
  static constexpr int32_t kPartitions = 3;
  static constexpr int64_t kOffsets = 30;

  explicit RandomState(uint64_t seed) : random(seed) {
    image = image_with_topic(topic, kPartitions);
    load();
  }

  int64_t pick(uint64_t below) { return static_cast<int64_t>(random.next() % below); }
  // Around what counts now: older, the same, newer.
  int32_t near(int32_t epoch) { return std::max(0, epoch - 1 + static_cast<int32_t>(pick(3))); }

  std::unique_ptr<ShareStateShard> fed_with_records(RecordSink& into) {
    auto made = std::make_unique<ShareStateShard>(into, config, [this] { return image; });
    sink.replay_into(*made, sink.now);
    return made;
  }
  void load() {
    shard = fed_with_records(sink);
    sink.shard = shard.get();
    shard->loaded(sink.now);
  }
  template <class Call>
  ErrorCode outcome(const Call& call) {
    ErrorCode code = ErrorCode::kUnknownServerError;
    call([&](ErrorCode said) { code = said; });
    return code;
  }

  void initialize(const SharePartitionKey& key) {
    const auto found = known.find(key);
    const int32_t epoch = found == known.end() ? 1 : near(found->second.state_epoch);
    const int64_t start = pick(3) - 1;
    const ErrorCode code = outcome(
        [&](auto done) { shard->initialize(key, epoch, start, sink.now, std::move(done)); });
    if (found != known.end() && epoch < found->second.state_epoch) {
      REQUIRE(code == ErrorCode::kFencedStateEpoch);
      return;
    }
    REQUIRE(code == ErrorCode::kNone);
    const int32_t leader_epoch = known[key].leader_epoch;
    known[key] = {.state_epoch = epoch,
                  .leader_epoch = leader_epoch,
                  .start = start,
                  .complete = start == -1 ? -1 : 0,
                  .offsets = {}};
  }

  std::vector<DeliveryBatch> some_batches() {
    constexpr DeliveryState kKept[] = {DeliveryState::kAvailable, DeliveryState::kAcknowledged,
                                       DeliveryState::kArchived};
    std::vector<DeliveryBatch> batches;
    for (int64_t at = pick(kOffsets / 2); at < kOffsets && batches.size() < 4;) {
      const int64_t last = std::min(kOffsets - 1, at + pick(6));
      batches.push_back({at, last, kKept[pick(3)], static_cast<int16_t>(1 + pick(4))});
      at = last + 1 + pick(3);
    }
    return batches;
  }
  void write(const SharePartitionKey& key) {
    const auto found = known.find(key);
    Known before = found == known.end() ? Known() : found->second;
    ShareStateUpdate update{near(before.state_epoch), near(before.leader_epoch), -1,
                            static_cast<int32_t>(pick(5)), some_batches()};
    if (pick(3) == 0) {
      update.start_offset = std::max<int64_t>(before.start, 0) + pick(3);
    }
    const ErrorCode code =
        outcome([&](auto done) { shard->write(key, update, sink.now, std::move(done)); });
    if (found == known.end()) {
      REQUIRE(code == ErrorCode::kInvalidRequest);
    } else if (update.leader_epoch < before.leader_epoch) {
      REQUIRE(code == ErrorCode::kFencedLeaderEpoch);
    } else if (update.state_epoch < before.state_epoch) {
      REQUIRE(code == ErrorCode::kFencedStateEpoch);
    } else {
      REQUIRE(code == ErrorCode::kNone);
      apply(found->second, update);
    }
  }
  // A later delivery counts, and of one delivery the further state.
  static void apply(Known& state, const ShareStateUpdate& update) {
    state.start = update.start_offset == -1 ? state.start : update.start_offset;
    state.complete = update.delivery_complete_count;
    for (const DeliveryBatch& batch : update.batches) {
      for (int64_t at = batch.first; at <= batch.last; ++at) {
        state.offsets[at] = std::max(state.offsets[at], std::pair(batch.deliveries, batch.state));
      }
    }
    std::erase_if(state.offsets, [&](const auto& entry) { return entry.first < state.start; });
  }

  void read(const SharePartitionKey& key) {
    const auto found = known.find(key);
    const int32_t epoch = found == known.end() ? 1 : near(found->second.leader_epoch);
    Result<SharePartitionState> told = fail(ErrorCode::kUnknownServerError, "");
    shard->read(key, epoch, sink.now, [&](const auto& said) { told = said; });
    if (found == known.end()) {
      REQUIRE(told.error().code == ErrorCode::kInvalidRequest);
    } else if (epoch < found->second.leader_epoch) {
      REQUIRE(told.error().code == ErrorCode::kFencedLeaderEpoch);
    } else {
      REQUIRE(told.has_value());
      check(found->second, *told);
      found->second.leader_epoch = epoch;
    }
  }
  static void check(const Known& state, const SharePartitionState& told) {
    REQUIRE(told.start_offset == state.start);
    REQUIRE(told.delivery_complete_count == state.complete);
    auto expected = state.offsets.begin();
    for (const DeliveryBatch& batch : told.batches) {
      for (int64_t at = batch.first; at <= batch.last; ++at, ++expected) {
        INFO("offset " << at);
        REQUIRE(expected != state.offsets.end());
        REQUIRE(expected->first == at);
        REQUIRE(expected->second == std::pair(batch.deliveries, batch.state));
      }
    }
    REQUIRE(expected == state.offsets.end());
  }

  void step() {
    const SharePartitionKey key{"g", topic, static_cast<int32_t>(pick(kPartitions))};
    switch (pick(16)) {
      case 0:
      case 1: initialize(key); break;
      case 2:
        REQUIRE(outcome([&](auto done) { shard->remove(key, std::move(done)); }) ==
                ErrorCode::kNone);
        known.erase(key);
        break;
      case 3:
        sink.now += pick(2'000);
        shard->tick(sink.now);
        break;
      case 4: load(); break;
      case 5:
      case 6:
      case 7: read(key); break;
      default: write(key);
    }
    REQUIRE(fed_with_records(nowhere)->states() == shard->states());
    check_what_may_go();
  }
  // Nothing is lost with the records before the first that is needed.
  void check_what_may_go() {
    ShareStateShard rest(nowhere, config, [this] { return image; });
    for (auto i = static_cast<size_t>(shard->first_needed_offset()); i < sink.log.size(); ++i) {
      rest.replay(sink.log[i], sink.places[i], sink.now);
    }
    REQUIRE(rest.states().size() == known.size());
    for (const auto& [key, state] : known) {
      REQUIRE(rest.states().at(key).leader_epoch == state.leader_epoch);
      REQUIRE(rest.states().at(key).state_epoch == state.state_epoch);
      check(state, rest.states().at(key));
    }
  }

  storage::SimRandom random;
  FakeSink sink;
  FakeSink nowhere;
  ShareStateConfig config{.updates_per_snapshot = 4, .cold_snapshot_ms = 1'000};
  replication::ImagePtr image;
  std::unique_ptr<ShareStateShard> shard;
  Uuid topic{1, 1};
  std::map<SharePartitionKey, Known> known;
};

}  // namespace

TEST_CASE("whatever leaders write, the share coordinator keeps the furthest of each offset") {
  size_t records = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    RandomState state(seed);
    for (int i = 0; i < 150; ++i) {
      INFO("step " << i);
      state.step();
    }
    records += state.sink.log.size();
  }
  CHECK(records > 4'000);
}
