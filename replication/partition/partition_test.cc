#include "replication/partition/partition.h"

#include <catch2/catch.hpp>
#include <deque>

#include "storage/env/guarded_disk.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::replication;

namespace {

struct Counter : Watcher {
  int told = 0;
  void notify() override { ++told; }
};

// Work waits until it is told to go on.
struct Held : storage::Background {
  std::deque<std::pair<Work, Done>> works;
  std::shared_ptr<Ticket> run(Work work, Done done) override {
    works.emplace_back(std::move(work), std::move(done));
    return nullptr;
  }
  void do_next() {
    auto [work, done] = std::move(works.front());
    works.pop_front();
    done(work());
  }
};

storage::InlineBackground at_once;

std::shared_ptr<Partition> make(storage::SimDisk& disk, storage::LogConfig config = {},
                                storage::Background& background = at_once) {
  auto partition =
      std::make_shared<Partition>(storage::TopicPartition{"t", 0}, Uuid(),
                                  *storage::Log::open(disk, "/d/t-0", config, {}), background);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1});
  return partition;
}

}  // namespace

TEST_CASE("what the whole ISR has is committed, and watchers are told once") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  auto counter = std::make_shared<Counter>();
  partition->watch(counter);
  REQUIRE(partition->append(storage::make_batch(3, 1), -1, 1).has_value());
  REQUIRE(partition->append(storage::make_batch(3, 1), -1, 1).has_value());
  CHECK(partition->high_watermark() == 6);
  CHECK(counter->told == 1);
}

TEST_CASE("who follows is told of the log's end, not of what is committed") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  partition->update({.replicas = {1, 2}, .isr = {1, 2}, .leader = 1, .partition_epoch = 1});
  auto consumer = std::make_shared<Counter>();
  auto follower = std::make_shared<Counter>();
  partition->watch(consumer);
  partition->watch(follower, true);
  REQUIRE(partition->append(storage::make_batch(3, 1), -1, 1).has_value());
  CHECK(consumer->told == 0);
  CHECK(follower->told == 1);
  partition->watch(follower, true);
  REQUIRE(partition->note_fetch(2, -1, 3, 1) == ErrorCode::kNone);
  CHECK(partition->high_watermark() == 3);
  CHECK(consumer->told == 1);
  CHECK(follower->told == 1);
  partition->update({.replicas = {1, 2}, .isr = {1, 2}, .leader = 2, .leader_epoch = 1});
  CHECK(follower->told == 2);
}

TEST_CASE("watchers who were answered elsewhere are swept") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  auto lasting = std::make_shared<Counter>();
  partition->watch(lasting);
  for (int i = 0; i < 1'000; ++i) {
    partition->watch(std::make_shared<Counter>());
    REQUIRE(partition->watchers() <= 128);
  }
  REQUIRE(partition->append(storage::make_batch(1, 1), -1, 1).has_value());
  CHECK(lasting->told == 1);
}

TEST_CASE("acks=all needs the minimum in-sync replicas, acks=1 does not") {
  storage::SimDisk disk;
  const auto partition = make(disk, {.min_insync_replicas = 2});
  partition->update({.replicas = {1, 2}, .isr = {1}, .leader = 1, .partition_epoch = 1});
  CHECK(partition->append(storage::make_batch(1, 1), -1, 1).error().code ==
        ErrorCode::kNotEnoughReplicas);
  CHECK(partition->append(storage::make_batch(1, 1), 1, 1).has_value());
}

TEST_CASE("the requester's epoch must be the leader's") {
  storage::SimDisk disk;
  const auto partition = make(disk);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1, .leader_epoch = 5});
  CHECK(partition->check_epoch(-1) == ErrorCode::kNone);
  CHECK(partition->check_epoch(5) == ErrorCode::kNone);
  CHECK(partition->check_epoch(4) == ErrorCode::kFencedLeaderEpoch);
  CHECK(partition->check_epoch(6) == ErrorCode::kUnknownLeaderEpoch);
}

TEST_CASE("with a flush per message many acknowledgements share one sync") {
  storage::SimDisk disk;
  Held background;
  const auto partition = make(disk, {.flush_messages = 1}, background);
  std::vector<int> acknowledged;
  const auto produce = [&](int who) {
    const auto info = partition->append(storage::make_batch(1, 1), 1, 1);
    REQUIRE(info);
    partition->when_committed(info->last_offset + 1, [&acknowledged, who](ErrorCode code) {
      CHECK(code == ErrorCode::kNone);
      acknowledged.push_back(who);
    });
  };
  produce(0);
  REQUIRE(background.works.size() == 1);
  for (int who = 1; who <= 5; ++who) {
    produce(who);  // while the first sync is under way
  }
  CHECK(background.works.size() == 1);
  CHECK(acknowledged.empty());
  CHECK(partition->high_watermark() == 0);
  background.do_next();
  CHECK(acknowledged == std::vector<int>{0});
  CHECK(partition->high_watermark() == 1);
  REQUIRE(background.works.size() == 1);
  background.do_next();
  CHECK(acknowledged == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(partition->high_watermark() == 6);
  CHECK(background.works.empty());
}

TEST_CASE("a failed sync refuses those who wait, and nothing is acknowledged after it") {
  storage::SimDisk below;
  storage::GuardedDisk disk(below);
  Held background;
  const auto partition = std::make_shared<Partition>(
      storage::TopicPartition{"t", 0}, Uuid(),
      *storage::Log::open(disk, "/d/t-0", {.flush_messages = 1}, {}), background);
  partition->update({.replicas = {1}, .isr = {1}, .leader = 1});
  REQUIRE(partition->append(storage::make_batch(1, 1), 1, 1));
  std::optional<ErrorCode> told;
  partition->when_committed(1, [&](ErrorCode code) { told = code; });
  below.fail_nth(1);
  background.do_next();
  CHECK(told == ErrorCode::kKafkaStorageError);
  CHECK(partition->append(storage::make_batch(1, 1), 1, 1).error().code ==
        ErrorCode::kKafkaStorageError);
  CHECK(partition->high_watermark() == 0);
}

namespace {

// A leader with two followers, and what it proposes.
struct Led {
  storage::SimDisk disk;
  std::vector<IsrProposal> proposals;
  int32_t fenced = -1;
  std::shared_ptr<Partition> partition;

  explicit Led(std::vector<int32_t> isr = {1, 2, 3}, storage::LogConfig config = {}) {
    PartitionOptions options;
    options.lag_time_max_ms = 1'000;
    options.propose = [this](const IsrProposal& proposal) { proposals.push_back(proposal); };
    options.is_eligible = [this](int32_t broker, int64_t) { return broker != fenced; };
    partition = std::make_shared<Partition>(storage::TopicPartition{"t", 0}, Uuid(),
                                            *storage::Log::open(disk, "/d/t-0", config, {}),
                                            at_once, options);
    partition->update({.replicas = {1, 2, 3},
                       .isr = std::move(isr),
                       .leader = 1,
                       .leader_epoch = 4,
                       .partition_epoch = 9},
                      100);
  }
  void append(int count) { REQUIRE(partition->append(storage::make_batch(count, 1), 1, 200)); }
};

using Ids = std::vector<int32_t>;

Ids ids_of(const IsrProposal& proposal) {
  Ids ids;
  for (const auto& member : proposal.isr) {
    ids.push_back(member.broker_id);
  }
  return ids;
}

}  // namespace

TEST_CASE("what every member of the ISR has fetched past is committed") {
  Led led;
  led.append(5);
  std::optional<ErrorCode> told;
  led.partition->when_committed(5, [&](ErrorCode code) { told = code; });
  CHECK(led.partition->note_fetch(2, 1, 5, 210) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 0);
  CHECK_FALSE(told);
  CHECK(led.partition->note_fetch(3, 1, 3, 210) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 3);
  CHECK(led.partition->note_fetch(3, 1, 5, 220) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 5);
  CHECK(told == ErrorCode::kNone);
  CHECK(led.partition->note_fetch(9, 1, 5, 220) == ErrorCode::kUnknownTopicOrPartition);
}

TEST_CASE("a follower that lags is proposed out, and back in when it has caught up") {
  Led led;
  led.append(5);
  REQUIRE(led.partition->note_fetch(2, 1, 5, 300) == ErrorCode::kNone);
  led.partition->shrink_isr(900);
  CHECK(led.proposals.empty());
  led.partition->shrink_isr(1'200);
  REQUIRE(led.proposals.size() == 1);
  CHECK(ids_of(led.proposals[0]) == Ids{1, 2});
  CHECK(led.proposals[0].partition_epoch == 9);
  CHECK(led.partition->high_watermark() == 0);  // not before the controller agrees
  led.partition->on_proposed(ErrorCode::kNone, 4, {1, 2}, 10, 1'200);
  CHECK(led.partition->high_watermark() == 5);
  REQUIRE(led.partition->note_fetch(3, 7, 5, 1'300) == ErrorCode::kNone);
  REQUIRE(led.proposals.size() == 2);
  CHECK(ids_of(led.proposals[1]) == Ids{1, 2, 3});
  CHECK(led.proposals[1].isr[2].broker_epoch == 7);
  // Until it is decided the follower counts already.
  led.append(1);
  REQUIRE(led.partition->note_fetch(2, 1, 6, 1'310) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 5);
}

TEST_CASE("a broker that the controller has fenced holds nothing up") {
  Led led;
  led.append(5);
  REQUIRE(led.partition->note_fetch(2, 1, 5, 210) == ErrorCode::kNone);
  REQUIRE(led.partition->note_fetch(3, 1, 5, 210) == ErrorCode::kNone);
  led.append(1);
  REQUIRE(led.partition->note_fetch(2, 1, 6, 220) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 5);
  led.fenced = 3;
  led.partition->update(
      {.replicas = {1, 2, 3}, .isr = {1, 2}, .leader = 1, .leader_epoch = 4, .partition_epoch = 10},
      230);
  CHECK(led.partition->high_watermark() == 6);
  // Nor is it proposed, for it would be refused.
  REQUIRE(led.partition->note_fetch(3, 1, 6, 240) == ErrorCode::kNone);
  CHECK(led.proposals.empty());
  led.fenced = -1;
  REQUIRE(led.partition->note_fetch(3, 1, 6, 250) == ErrorCode::kNone);
  CHECK(led.proposals.size() == 1);
}

TEST_CASE("an ISR that may have been written counts until it is known") {
  Led led({1, 2});
  led.append(5);
  REQUIRE(led.partition->note_fetch(2, 1, 5, 210) == ErrorCode::kNone);
  REQUIRE(led.partition->note_fetch(3, 7, 5, 220) == ErrorCode::kNone);
  REQUIRE(led.proposals.size() == 1);
  // The controller wrote it and died before it answered: it may elect 3.
  led.partition->on_proposed(ErrorCode::kNetworkException, 4, {}, 0, 230);
  led.append(1);
  REQUIRE(led.partition->note_fetch(2, 1, 6, 5'000) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 5);
  REQUIRE(led.proposals.size() == 2);
  CHECK(ids_of(led.proposals[1]) == Ids{1, 2, 3});
  // The next controller knows of it already, and so do the metadata soon.
  led.partition->on_proposed(ErrorCode::kInvalidUpdateVersion, 4, {}, 0, 5'010);
  REQUIRE(led.partition->note_fetch(2, 1, 6, 5'020) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 5);
  led.partition->update({.replicas = {1, 2, 3},
                         .isr = {1, 2, 3},
                         .leader = 1,
                         .leader_epoch = 4,
                         .partition_epoch = 10},
                        5'030);
  REQUIRE(led.partition->note_fetch(3, 7, 6, 5'040) == ErrorCode::kNone);
  CHECK(led.partition->high_watermark() == 6);
}

TEST_CASE("a new epoch of the same leader forgets what it has proposed in the old one") {
  Led led({1, 2});
  led.append(5);
  REQUIRE(led.partition->note_fetch(2, 1, 5, 210) == ErrorCode::kNone);
  led.partition->on_proposed(ErrorCode::kNone, 4, {1, 2}, 10, 215);
  REQUIRE(led.partition->note_fetch(3, 7, 5, 220) == ErrorCode::kNone);
  REQUIRE(led.proposals.size() == 1);
  // A completed move began an epoch; the answer told its partition epoch first.
  led.partition->update(
      {.replicas = {1, 2, 3}, .isr = {1, 2}, .leader = 1, .leader_epoch = 5, .partition_epoch = 9},
      230);
  led.partition->on_proposed(ErrorCode::kFencedLeaderEpoch, 4, {}, 0, 240);
  REQUIRE(led.partition->note_fetch(3, 7, 5, 250) == ErrorCode::kNone);
  REQUIRE(led.proposals.size() == 2);
  CHECK(led.proposals[1].leader_epoch == 5);
}

TEST_CASE("below the minimum of the ISR nothing is committed") {
  Led led({1}, {.min_insync_replicas = 2});
  led.append(2);
  CHECK(led.partition->high_watermark() == 0);
}

TEST_CASE("who loses the lead tells those who wait, and follows from then on") {
  Led led;
  led.append(2);
  std::optional<ErrorCode> told;
  led.partition->when_committed(2, [&](ErrorCode code) { told = code; });
  led.partition->update(
      {.replicas = {1, 2, 3}, .isr = {2, 3}, .leader = 2, .leader_epoch = 5, .partition_epoch = 10},
      300);
  CHECK(told == ErrorCode::kNotLeaderOrFollower);
  CHECK(led.partition->append(storage::make_batch(1, 1), 1, 300).error().code ==
        ErrorCode::kNotLeaderOrFollower);
  // The new leader has only the first record.
  REQUIRE(led.partition->truncate(4, 1, 300));
  CHECK(led.partition->log().end_offset() == 0);  // a batch is cut whole
}

TEST_CASE("records are deleted once every replica that is alive begins behind them") {
  Led led;
  led.append(5);
  for (const int32_t follower : {2, 3}) {
    REQUIRE(led.partition->note_fetch(follower, 1, 5, 210) == ErrorCode::kNone);
    led.partition->note_start(follower, 0);
  }
  REQUIRE(led.partition->log().advance_start(3, 220));
  std::vector<std::pair<int64_t, ErrorCode>> told;
  const auto wait_for = [&](int64_t offset) {
    led.partition->when_deleted(
        offset, [&told, offset](ErrorCode code) { told.emplace_back(offset, code); });
  };
  wait_for(3);
  wait_for(1);  // asked later, and there sooner
  wait_for(0);
  using Told = std::vector<std::pair<int64_t, ErrorCode>>;
  CHECK(told == Told{{0, ErrorCode::kNone}});
  led.partition->note_start(2, 3);
  CHECK(told.size() == 1);
  led.partition->note_start(3, 2);
  CHECK(told == Told{{0, ErrorCode::kNone}, {1, ErrorCode::kNone}});
  led.fenced = 3;  // when it comes back it cuts its log before it can lead
  led.append(1);
  CHECK(told.size() == 3);
  led.fenced = -1;
  wait_for(3);
  led.partition->update({.replicas = {1, 2, 3},
                         .isr = {1, 2, 3},
                         .leader = 2,
                         .leader_epoch = 5,
                         .partition_epoch = 10},
                        300);
  CHECK(told.back() == std::pair<int64_t, ErrorCode>{3, ErrorCode::kNotLeaderOrFollower});
}

TEST_CASE("a follower is not safe before its flush is over") {
  storage::SimDisk disk;
  Held background;
  const auto partition = std::make_shared<Partition>(
      storage::TopicPartition{"t", 0}, Uuid(),
      *storage::Log::open(disk, "/d/t-0", {.flush_messages = 1}, {}), background);
  partition->update({.replicas = {1, 2}, .isr = {1, 2}, .leader = 2, .leader_epoch = 3});
  CHECK(partition->is_safe());
  REQUIRE(partition->append_fetched(storage::make_batch(2, 1), 0, 0, 1));
  CHECK_FALSE(partition->is_safe());
  std::optional<ErrorCode> told;
  partition->when_written(2, [&](ErrorCode code) { told = code; });
  CHECK_FALSE(told);
  background.do_next();
  CHECK(partition->is_safe());
  CHECK(told == ErrorCode::kNone);
}

TEST_CASE("what is left of a log that is cut during its flush is flushed again") {
  storage::SimDisk disk;
  Held background;
  const auto partition = std::make_shared<Partition>(
      storage::TopicPartition{"t", 0}, Uuid(),
      *storage::Log::open(disk, "/d/t-0", {.flush_messages = 1}, {}), background);
  partition->update({.replicas = {1, 2}, .isr = {1, 2}, .leader = 2, .leader_epoch = 3});
  for (int i = 0; i < 3; ++i) {
    const auto batch = storage::make_batch(1, 1, 100, {.base_offset = i, .leader_epoch = 3});
    REQUIRE(partition->append_fetched(batch, 0, 0, 1));
  }
  background.do_next();
  REQUIRE(background.works.size() == 1);  // of the second and the third
  REQUIRE(partition->truncate(3, 2, 1));
  CHECK_FALSE(partition->is_safe());
  background.do_next();
  CHECK_FALSE(partition->is_safe());
  REQUIRE_FALSE(background.works.empty());
  background.do_next();
  CHECK(partition->is_safe());
  CHECK(partition->log().recovery_point() == 2);
}

TEST_CASE("a flush that was promised comes even when the configuration changes before it begins") {
  storage::SimDisk disk;
  Held background;
  const auto partition = make(disk, {.flush_messages = 1}, background);
  std::optional<ErrorCode> told;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(partition->append(storage::make_batch(1, 1), 1, 1));
  }
  partition->when_committed(2, [&](ErrorCode code) { told = code; });
  partition->log().set_config({});
  background.do_next();  // of the first
  CHECK_FALSE(told);
  REQUIRE(background.works.size() == 1);
  background.do_next();
  CHECK(told == ErrorCode::kNone);
  CHECK(background.works.empty());
}
