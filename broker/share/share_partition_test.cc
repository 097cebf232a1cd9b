#include "broker/share/share_partition.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace klamm;
using namespace klamm::broker;

namespace {

using Batches = std::vector<BatchRange>;

// A share partition whose changes are kept at once.
struct ShareFixture {
  SharePartition partition{0, {}};
  ShareLimits limits;
  int64_t now = 1'000;

  std::vector<Acquired> acquire(const std::string& member, const Batches& batches,
                                int64_t max = 500, bool exactly = false) {
    return partition.acquire({member, max, exactly, 0}, batches, limits, now);
  }
  ErrorCode ack(const std::string& member, int64_t first, int64_t last,
                std::vector<AckType> types) {
    const Acknowledgement one{first, last, std::move(types)};
    const auto change = partition.acknowledge(member, std::span(&one, 1), limits, now);
    if (!change) {
      return change.error().code;
    }
    partition.settle(change->id, true, now);
    return ErrorCode::kNone;
  }
  ErrorCode ack(const std::string& member, int64_t first, int64_t last, AckType type) {
    return ack(member, first, last, std::vector{type});
  }
  void expire() { partition.settle(partition.expire(limits, now).id, true, now); }
};

}  // namespace

TEST_CASE("records go to one member at a time, and are done with once accepted") {
  ShareFixture f;
  CHECK(f.acquire("a", {{0, 4}, {5, 9}}, 5) == std::vector<Acquired>{{0, 4, 1}});
  CHECK(f.partition.fetch_offset() == 5);
  CHECK(f.acquire("b", {{5, 9}}) == std::vector<Acquired>{{5, 9, 1}});
  CHECK(f.ack("b", 0, 4, AckType::kAccept) == ErrorCode::kInvalidRecordState);
  CHECK(f.ack("a", 0, 4, AckType::kAccept) == ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 5);
  CHECK(f.ack("a", 0, 4, AckType::kAccept) == ErrorCode::kNone);  // before the start: long done
  CHECK(f.ack("b", 5, 12, AckType::kAccept) == ErrorCode::kInvalidRequest);
  CHECK(f.ack("b", 7, 9, AckType::kReject) == ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 5);
  CHECK(f.partition.complete_count() == 3);
}

TEST_CASE("what is released is delivered again, and counted") {
  ShareFixture f;
  f.acquire("a", {{0, 2}});
  CHECK(f.ack("a", 0, 2, {AckType::kAccept, AckType::kRelease, AckType::kAccept}) ==
        ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 1);
  CHECK(f.partition.fetch_offset() == 1);
  CHECK(f.acquire("b", {{0, 2}, {3, 5}}) == std::vector<Acquired>{{1, 1, 2}, {3, 5, 1}});
}

TEST_CASE("after its last delivery a record is archived, and it came alone") {
  ShareFixture f;
  for (int16_t delivery = 1; delivery <= f.limits.deliveries_max; ++delivery) {
    const auto acquired = f.acquire("a", {{0, 3}});
    REQUIRE(acquired.front().deliveries == delivery);
    if (delivery == f.limits.deliveries_max) {
      CHECK(acquired == std::vector<Acquired>{{0, 0, 5}});
    }
    for (const auto& each : acquired) {
      REQUIRE(f.ack("a", each.first, each.last, AckType::kRelease) == ErrorCode::kNone);
    }
  }
  CHECK(f.partition.start_offset() == 1);
}

TEST_CASE("a lock that runs out makes records available to others; renewed ones stay") {
  ShareFixture f;
  f.acquire("a", {{0, 3}});
  f.now += 20'000;
  CHECK(f.ack("a", 2, 3, AckType::kRenew) == ErrorCode::kNone);
  CHECK(f.partition.next_deadline() == 31'000);
  f.now = 31'000;
  f.expire();
  CHECK(f.acquire("b", {{0, 3}}) == std::vector<Acquired>{{0, 1, 2}});
  CHECK(f.ack("a", 0, 1, AckType::kAccept) == ErrorCode::kInvalidRecordState);
  CHECK(f.ack("a", 2, 3, AckType::kAccept) == ErrorCode::kNone);
  f.limits.renewal = false;
  CHECK(f.ack("b", 0, 1, AckType::kRenew) == ErrorCode::kInvalidRecordState);
}

TEST_CASE("a change that is being written is nobody's; one that fails is undone") {
  ShareFixture f;
  f.acquire("a", {{0, 1}});
  const Acknowledgement accept{0, 1, {AckType::kAccept}};
  const auto change = f.partition.acknowledge("a", std::span(&accept, 1), f.limits, f.now);
  REQUIRE(change.has_value());
  CHECK(change->batches == std::vector<DeliveryBatch>{{0, 1, DeliveryState::kAcknowledged, 1}});
  CHECK(f.ack("a", 0, 1, AckType::kRelease) == ErrorCode::kInvalidRecordState);
  CHECK(f.partition.start_offset() == 0);
  f.partition.settle(change->id, false, f.now);
  CHECK(f.ack("a", 0, 1, AckType::kAccept) == ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 2);
}

TEST_CASE("nothing of an acknowledgement counts that is wrong in part") {
  ShareFixture f;
  f.acquire("a", {{0, 1}});
  f.acquire("b", {{2, 3}});
  CHECK(f.ack("a", 0, 3, AckType::kAccept) == ErrorCode::kInvalidRecordState);
  CHECK(f.ack("a", 0, 1, {AckType::kAccept, static_cast<AckType>(7)}) ==
        ErrorCode::kInvalidRequest);
  CHECK(f.partition.start_offset() == 0);
  CHECK(f.ack("a", 0, 1, AckType::kAccept) == ErrorCode::kNone);
}

TEST_CASE("a member that goes gives back what it has") {
  ShareFixture f;
  f.acquire("a", {{0, 1}});
  f.acquire("b", {{2, 3}});
  f.partition.settle(f.partition.release("a", f.limits).id, true, f.now);
  CHECK(f.acquire("b", {{0, 1}}) == std::vector<Acquired>{{0, 1, 2}});
}

TEST_CASE("no more records are out than allowed, about") {
  ShareFixture f;
  f.limits.locks_max = 10;
  CHECK(f.acquire("a", {{0, 7}, {8, 15}, {16, 23}}) == std::vector<Acquired>{{0, 15, 1}});
  CHECK_FALSE(f.partition.can_acquire(f.limits));
  CHECK(f.acquire("b", {{16, 23}}).empty());
  CHECK(f.ack("a", 0, 3, AckType::kRelease) == ErrorCode::kNone);
  CHECK(f.partition.can_acquire(f.limits));
  CHECK(f.acquire("b", {{0, 7}, {8, 15}, {16, 23}}) == std::vector<Acquired>{{0, 3, 2}});
}

TEST_CASE("exactly as many records as asked for, where that is wanted") {
  ShareFixture f;
  CHECK(f.acquire("a", {{0, 9}}, 3, true) == std::vector<Acquired>{{0, 2, 1}});
  CHECK(f.acquire("b", {{0, 9}}, 3, false) == std::vector<Acquired>{{3, 9, 1}});
}

TEST_CASE("large acquisitions come in parts along the log's batches") {
  ShareFixture f;
  const auto acquired =
      f.partition.acquire({"a", 100, false, 4}, Batches{{0, 2}, {3, 5}, {6, 8}}, f.limits, f.now);
  CHECK(acquired == std::vector<Acquired>{{0, 5, 1}, {6, 8, 1}});
}

TEST_CASE("offsets that the log has lost are done with") {
  ShareFixture f;
  f.acquire("a", {{0, 9}});
  CHECK(f.ack("a", 0, 9, AckType::kRelease) == ErrorCode::kNone);
  CHECK(f.acquire("a", {{5, 9}}) == std::vector<Acquired>{{5, 9, 2}});
  CHECK(f.partition.start_offset() == 5);
  f.partition.advance_start(8);
  CHECK(f.partition.start_offset() == 8);
  CHECK(f.ack("a", 5, 9, AckType::kAccept) == ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 10);
  f.partition.advance_start(20);
  CHECK(f.partition.fetch_offset() == 20);
}

TEST_CASE("records of an aborted transaction are taken back before anybody sees them") {
  ShareFixture f;
  auto acquired = f.acquire("a", {{0, 2}, {3, 5}, {6, 8}});
  f.partition.archive({3, 5}, acquired);
  CHECK(acquired == std::vector<Acquired>{{0, 2, 1}, {6, 8, 1}});
  CHECK(f.ack("a", 3, 3, AckType::kAccept) == ErrorCode::kInvalidRecordState);
  CHECK(f.ack("a", 0, 2, AckType::kAccept) == ErrorCode::kNone);
  CHECK(f.partition.start_offset() == 6);
}

TEST_CASE("what was kept is known again; what was out without an outcome is given out again") {
  SharePartition partition(10, {{12, 13, DeliveryState::kAcknowledged, 1},
                                {14, 14, DeliveryState::kAvailable, 3},
                                {15, 15, DeliveryState::kArchived, 5}});
  CHECK(partition.start_offset() == 10);
  CHECK(partition.fetch_offset() == 10);
  CHECK(partition.next_offset() == 16);
  const auto acquired = partition.acquire({"a", 10, false, 0}, Batches{{10, 20}}, {}, 1);
  CHECK(acquired == std::vector<Acquired>{{10, 11, 1}});  // 14 has failed often: not with others
}

TEST_CASE("states combine: the later delivery counts, then the further state") {
  using enum DeliveryState;
  const std::vector<DeliveryBatch> before{{0, 9, kAvailable, 1}};
  CHECK(combine(before, {{3, 4, kAcknowledged, 1}}, -1) ==
        std::vector<DeliveryBatch>{
            {0, 2, kAvailable, 1}, {3, 4, kAcknowledged, 1}, {5, 9, kAvailable, 1}});
  CHECK(combine({{0, 4, kAcknowledged, 1}}, {{0, 4, kAvailable, 1}}, -1) ==
        std::vector<DeliveryBatch>{{0, 4, kAcknowledged, 1}});
  CHECK(combine({{0, 4, kAvailable, 2}}, {{5, 6, kAvailable, 2}}, 3) ==
        std::vector<DeliveryBatch>{{3, 6, kAvailable, 2}});
}

// Members acquire, acknowledge, forget and go; writes fail; the partition is loaded anew from what
// was kept. A record is out with one member at a time, one that was accepted comes no more, and in
// the end every record was accepted or delivered as often as allowed.
TEST_CASE("whatever members do, no accepted record is delivered again, and none is forgotten") {
  constexpr int64_t kEnd = 60;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    uint64_t random = seed * 0x9E3779B97F4A7C15ull;
    const auto pick = [&](uint64_t below) {
      random = random * 6364136223846793005ull + 1442695040888963407ull;
      return (random >> 33) % below;
    };
    ShareLimits limits{.lock_ms = 100, .deliveries_max = 4, .locks_max = 20};
    int64_t now = 1'000;
    SharePartition partition(0, {});
    std::vector<DeliveryBatch> kept;
    std::map<int64_t, std::string> holder;
    std::map<int64_t, int64_t> until;
    std::map<int64_t, int> deliveries;
    std::set<int64_t> accepted;
    const auto keep = [&](const ShareChange& change, bool works) {
      if (works) {
        kept = combine(kept, change.batches, partition.start_offset());
      }
      partition.settle(change.id, works, now);
    };
    for (int step = 0; step < 3'000 && partition.start_offset() < kEnd; ++step) {
      const std::string member(1, static_cast<char>('a' + pick(3)));
      now += static_cast<int64_t>(pick(8));
      keep(partition.expire(limits, now), true);
      const uint64_t what = pick(20);
      if (what < 10) {
        Batches batches;
        const int64_t from = partition.fetch_offset();
        for (int64_t base = from / 5 * 5; base < std::min<int64_t>(kEnd, from + 15); base += 5) {
          batches.push_back({base, base + 4});
        }
        if (batches.empty()) {
          continue;
        }
        for (const auto& got :
             partition.acquire({member, static_cast<int64_t>(1 + pick(8)), pick(2) == 0, 0},
                               batches, limits, now)) {
          for (int64_t offset = got.first; offset <= got.last; ++offset) {
            CHECK_FALSE(accepted.contains(offset));
            CHECK((!holder.contains(offset) || until[offset] <= now));
            holder[offset] = member;
            until[offset] = now + limits.lock_ms;
            ++deliveries[offset];
            CHECK(deliveries[offset] <= limits.deliveries_max + 50);
          }
        }
      } else if (what < 18) {
        for (auto it = holder.begin(); it != holder.end();) {
          if (it->second != member || pick(3) == 0) {
            ++it;
            continue;
          }
          const AckType type = pick(3) == 0 ? AckType::kRelease : AckType::kAccept;
          const Acknowledgement ack{it->first, it->first, {type}};
          const auto change = partition.acknowledge(member, std::span(&ack, 1), limits, now);
          if (!change) {
            it = holder.erase(it);
            continue;
          }
          const bool works = pick(6) != 0;
          keep(*change, works);
          if (works) {
            if (type == AckType::kAccept) {
              accepted.insert(it->first);
            }
            it = holder.erase(it);
          } else {
            ++it;
          }
        }
      } else if (what == 18) {
        keep(partition.release(member, limits), true);
        std::erase_if(holder, [&](const auto& each) { return each.second == member; });
      } else {
        partition =
            SharePartition(partition.start_offset(), combine(kept, {}, partition.start_offset()));
        holder.clear();
      }
    }
    CHECK(partition.start_offset() == kEnd);
    for (int64_t offset = 0; offset < kEnd; ++offset) {
      CHECK((accepted.contains(offset) || deliveries[offset] >= limits.deliveries_max));
    }
  }
}
