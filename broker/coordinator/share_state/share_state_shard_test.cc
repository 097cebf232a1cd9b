// The share coordinator's state. After every step a second shard fed only with the records must
// know the same.
#include "broker/coordinator/share_state/share_state_shard.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/fake_sink.h"
#include "broker/coordinator/share_state/share_state_fixture.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

struct StateFixture {
  FakeSink sink;
  ShareStateConfig config{.updates_per_snapshot = 3, .cold_snapshot_ms = 1'000};
  replication::ImagePtr image;
  std::unique_ptr<ShareStateShard> shard;
  Uuid topic{1, 1};
  SharePartitionKey key{"g", topic, 0};
  int64_t now = 1'000;

  StateFixture() {
    image = image_with_topic(topic, 1);
    shard = make_shard(sink);
    sink.shard = shard.get();
    shard->loaded(now);
  }
  std::unique_ptr<ShareStateShard> make_shard(RecordSink& into) {
    return std::make_unique<ShareStateShard>(into, config, [this] { return image; });
  }
  void check_twin() {
    FakeSink unused;
    const auto other = make_shard(unused);
    sink.replay_into(*other, now);
    CHECK(other->states() == shard->states());
  }
  template <class Call>
  ErrorCode outcome(const Call& call) {
    ErrorCode code = ErrorCode::kUnknownServerError;
    call([&](ErrorCode said) { code = said; });
    check_twin();
    return code;
  }
  ErrorCode initialize(int32_t epoch, int64_t start = -1) {
    return outcome([&](auto done) { shard->initialize(key, epoch, start, now, done); });
  }
  ErrorCode write(int32_t leader_epoch, std::vector<DeliveryBatch> batches, int64_t start = 0,
                  int32_t state_epoch = 1) {
    const ShareStateUpdate update{state_epoch, leader_epoch, start, 0, std::move(batches)};
    return outcome([&](auto done) { shard->write(key, update, now, done); });
  }
  Result<SharePartitionState> read(int32_t leader_epoch) {
    Result<SharePartitionState> state = fail(ErrorCode::kUnknownServerError, "");
    shard->read(key, leader_epoch, now, [&](const auto& said) { state = said; });
    check_twin();
    return state;
  }
};

}  // namespace

TEST_CASE("a share partition's state is kept from its beginning on") {
  StateFixture f;
  using enum DeliveryState;
  CHECK(f.read(1).error().code == ErrorCode::kInvalidRequest);
  CHECK(f.initialize(1) == ErrorCode::kNone);
  CHECK(f.read(1)->start_offset == -1);
  CHECK(f.write(1, {{0, 4, kAvailable, 1}}) == ErrorCode::kNone);
  CHECK(f.write(1, {{2, 3, kAcknowledged, 1}}) == ErrorCode::kNone);
  CHECK(f.read(1)->batches == std::vector<DeliveryBatch>{{0, 1, kAvailable, 1},
                                                         {2, 3, kAcknowledged, 1},
                                                         {4, 4, kAvailable, 1}});
  CHECK(f.write(1, {{4, 4, kAcknowledged, 2}}, 4) == ErrorCode::kNone);
  CHECK(f.read(1)->batches == std::vector<DeliveryBatch>{{4, 4, kAcknowledged, 2}});
  CHECK(f.read(1)->start_offset == 4);
}

TEST_CASE("leaders and states of before are fenced") {
  StateFixture f;
  REQUIRE(f.initialize(2) == ErrorCode::kNone);
  REQUIRE(f.read(5).has_value());
  CHECK(f.read(4).error().code == ErrorCode::kFencedLeaderEpoch);
  CHECK(f.write(4, {}, 0, 2) == ErrorCode::kFencedLeaderEpoch);
  CHECK(f.write(5, {}, 0, 1) == ErrorCode::kFencedStateEpoch);
  CHECK(f.initialize(1) == ErrorCode::kFencedStateEpoch);
  CHECK(f.initialize(3, 7) == ErrorCode::kNone);
  CHECK(f.read(5)->start_offset == 7);
}

TEST_CASE("some updates make a snapshot, and so does time; what is before may go") {
  StateFixture f;
  REQUIRE(f.initialize(1) == ErrorCode::kNone);
  for (int i = 0; i < 4; ++i) {
    REQUIRE(f.write(0, {{i, i, DeliveryState::kAcknowledged, 1}}) == ErrorCode::kNone);
  }
  CHECK(f.shard->states().at(f.key).snapshot_epoch == 1);
  CHECK(f.shard->first_needed_offset() == 4);
  REQUIRE(f.write(0, {}) == ErrorCode::kNone);
  f.now += 1'001;
  f.shard->tick(f.now);
  CHECK(f.shard->states().at(f.key).snapshot_epoch == 2);
  CHECK(f.shard->first_needed_offset() == 6);
  f.now += 2'000;
  const size_t written = f.sink.log.size();
  f.shard->tick(f.now);
  CHECK(f.sink.log.size() == written);  // nothing was written since
  f.check_twin();
}

TEST_CASE("the state of a topic that was deleted goes with time") {
  StateFixture f;
  REQUIRE(f.initialize(1) == ErrorCode::kNone);
  f.image = std::make_shared<replication::MetadataImage>();
  f.now += 1'001;
  f.shard->tick(f.now);
  CHECK(f.shard->states().empty());
  CHECK(f.shard->first_needed_offset() == 2);
  f.check_twin();
}

TEST_CASE("state is removed, and asking for it makes none") {
  StateFixture f;
  REQUIRE(f.initialize(1, 3) == ErrorCode::kNone);
  CHECK(f.shard->summary(f.key)->start_offset == 3);
  CHECK(f.outcome([&](auto done) { f.shard->remove(f.key, done); }) == ErrorCode::kNone);
  CHECK(f.outcome([&](auto done) { f.shard->remove(f.key, done); }) == ErrorCode::kNone);
  CHECK(f.shard->summary(f.key)->start_offset == -1);
  f.key.partition = 3;
  CHECK(f.initialize(1) == ErrorCode::kUnknownTopicOrPartition);
  CHECK(f.shard->summary(f.key).error().code == ErrorCode::kUnknownTopicOrPartition);
}
