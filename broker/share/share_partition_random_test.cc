// Members of a share group do what they like with one partition, from a seed; a model that knows
// the state of each record says what may be given to whom.
#include <catch2/catch.hpp>
#include <map>

#include "broker/share/share_partition.h"
#include "storage/env/clock.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

enum class Fate { kFree, kHeld, kDone };

struct Known {
  Fate fate = Fate::kFree;
  int16_t deliveries = 0;
  std::string member;
  int64_t locked_until = 0;
};

struct RandomShare {
  static constexpr int64_t kEnd = 120;

  explicit RandomShare(uint64_t seed) : random(seed) {
    limits.deliveries_max = 3;
    // The log: batches of up to eight records; some offsets are gone, which may be given out among
    // others or skipped.
    for (int64_t at = 0; at < kEnd;) {
      const int64_t last = std::min(kEnd - 1, at + pick(8));
      if (pick(6) > 0 || last == kEnd - 1) {
        log.push_back({at, last});
      }
      at = last + 1;
    }
    for (int64_t at = 0; at < kEnd; ++at) {
      known[at] = {};
    }
  }
  int64_t pick(uint64_t below) { return static_cast<int64_t>(random.next() % below); }
  std::string some_member() { return std::string(1, static_cast<char>('a' + pick(3))); }

  // Given up for another delivery, or for good.
  void free(Known& record) {
    record.fate = record.deliveries >= limits.deliveries_max ? Fate::kDone : Fate::kFree;
  }
  size_t acquire(const std::string& member) {
    std::vector<BatchRange> batches;
    for (const BatchRange& batch : log) {
      if (batch.last >= partition.fetch_offset() && batches.size() < 4) {
        batches.push_back(batch);
      }
    }
    const AcquireTerms terms{member, 1 + pick(12), pick(2) == 0, 1 + pick(5)};
    int64_t count = 0;
    for (const Acquired& range : partition.acquire(terms, batches, limits, now)) {
      for (int64_t at = range.first; at <= range.last; ++at) {
        Known& record = known.at(at);
        INFO("offset " << at);
        REQUIRE(record.fate == Fate::kFree);
        REQUIRE(range.deliveries == record.deliveries + 1);
        record = {Fate::kHeld, range.deliveries, member, now + limits.lock_ms};
        ++count;
      }
    }
    REQUIRE((!terms.exactly || count <= terms.records_max));
    return static_cast<size_t>(count);
  }
  // Says the same of a stretch of what a member holds; somebody else may say nothing of it.
  void acknowledge(const std::string& member, std::optional<AckType> wanted = {}) {
    std::vector<int64_t> held;
    for (const auto& [at, record] : known) {
      if (record.fate == Fate::kHeld && record.member == member) {
        held.push_back(at);
      }
    }
    if (held.empty()) {
      return;
    }
    const int64_t first = held[static_cast<size_t>(pick(held.size()))];
    int64_t last = first;
    while (std::ranges::binary_search(held, last + 1) && pick(3) > 0) {
      ++last;
    }
    const AckType type = wanted.value_or(static_cast<AckType>(1 + pick(4)));
    const Acknowledgement ack{first, last, {type}};
    REQUIRE(partition.acknowledge("stranger", std::span(&ack, 1), limits, now).error().code ==
            ErrorCode::kInvalidRecordState);
    const auto change = partition.acknowledge(member, std::span(&ack, 1), limits, now);
    REQUIRE(change.has_value());
    const bool is_kept = pick(8) > 0;
    if (change->id != 0) {
      partition.settle(change->id, is_kept, now);
    }
    for (int64_t at = first; at <= last && (is_kept || change->id == 0); ++at) {
      Known& record = known[at];
      type == AckType::kRenew     ? void(record.locked_until = now + limits.lock_ms)
      : type == AckType::kRelease ? free(record)
                                  : void(record.fate = Fate::kDone);
    }
  }
  void pass(int64_t ms) {
    now += ms;
    partition.settle(partition.expire(limits, now).id, true, now);
    for (auto& [at, record] : known) {
      if (record.fate == Fate::kHeld && record.locked_until <= now) {
        free(record);
      }
    }
  }
  void leave(const std::string& member) {
    partition.settle(partition.release(member, limits).id, true, now);
    for (auto& [at, record] : known) {
      if (record.fate == Fate::kHeld && record.member == member) {
        free(record);
      }
    }
  }
  void step() {
    switch (pick(10)) {
      case 0: return pass(pick(20'000));
      case 1: return leave(some_member());
      case 2:
      case 3:
      case 4: acquire(some_member()); return;
      default: acknowledge(some_member());
    }
  }

  storage::SimRandom random;
  ShareLimits limits;
  SharePartition partition{0, {}};
  std::vector<BatchRange> log;
  std::map<int64_t, Known> known;
  int64_t now = 1'000;
};

}  // namespace

TEST_CASE(
    "whatever the members do, a record is with one of them, and each is done with in the end") {
  size_t held_at_the_end = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    RandomShare share(seed);
    for (int i = 0; i < 80; ++i) {
      share.step();
    }
    share.pass(share.limits.lock_ms);
    REQUIRE(share.partition.is_idle());
    for (int i = 0; i < 2'000 && share.partition.start_offset() < RandomShare::kEnd; ++i) {
      held_at_the_end += share.acquire("z");
      share.acknowledge("z", AckType::kAccept);
    }
    CHECK(share.partition.start_offset() == RandomShare::kEnd);
  }
  CHECK(held_at_the_end > 200);
}
