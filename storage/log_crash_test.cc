// What survives: a killed process, a power cut, a failing call, a flipped bit.
#include <catch2/catch.hpp>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

constexpr int64_t kNow = 1'800'000'000'000;

Result<std::unique_ptr<Log>> open(SimDisk& disk, const LogConfig& config) {
  return Log::open(disk, "/d/t-0", config, {.recovery_point = 0, .clean = false, .now_ms = kNow});
}

}  // namespace

TEST_CASE("a killed process loses nothing that was acknowledged") {
  SimDisk disk;
  const LogConfig config{.segment_bytes = 1500};
  std::string before;
  {
    auto log = *open(disk, config);
    for (int i = 0; i < 40; ++i) {
      REQUIRE(log->append_as_leader(make_batch(3, kNow + i), 0, kNow).has_value());
    }
    before = read_all(*log, 0);
  }
  auto log = *open(disk, config);
  CHECK(log->end_offset() == 120);
  CHECK(read_all(*log, 0) == before);
}

TEST_CASE("what a killed process had not synced is synced when it is found, if it must be safe") {
  SimDisk disk;
  const LogConfig config{.flush_messages = 1};
  {
    auto log = *open(disk, config);
    REQUIRE(log->append_as_leader(make_batch(3, kNow), 0, kNow).has_value());
  }
  CHECK((*open(disk, config))->recovery_point() == 3);
  disk.cut_power();
  CHECK((*open(disk, config))->end_offset() == 3);
}

TEST_CASE(
    "with a flush per append a power cut loses nothing acknowledged; without, what is left is a "
    "sound prefix") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const bool synced = seed % 2 == 0;
    SimDisk disk(seed);
    LogConfig config{.segment_bytes = 1500};
    config.flush_messages = synced ? 1 : INT64_MAX;
    std::string before;
    {
      auto log = *open(disk, config);
      for (int i = 0; i < 30; ++i) {
        REQUIRE(log->append_as_leader(make_batch(2, kNow + i, 50 + seed), 0, kNow).has_value());
        CHECK(log->flush_is_demanded() == synced);
        if (log->flush_is_due(kNow)) {
          REQUIRE(log->flush(kNow));
        }
      }
      before = read_all(*log, 0);
    }
    disk.cut_power();
    auto log = open(disk, config);
    INFO("seed " << seed);
    REQUIRE(log.has_value());
    const std::string after = read_all(**log, 0);
    CHECK(before.starts_with(after));
    if (synced) {
      CHECK(after == before);
    }
    REQUIRE((*log)->append_as_leader(make_batch(1, kNow), 0, kNow).has_value());
  }
}

TEST_CASE(
    "when the n-th changing call fails, for every n, the log refuses cleanly and recovers what it "
    "acknowledged") {
  const LogConfig config{.segment_bytes = 900};
  for (int n = 1;; ++n) {
    SimDisk disk(static_cast<uint64_t>(n));
    int64_t acknowledged = 0;
    disk.fail_nth(n);
    {
      auto log = open(disk, config);
      for (int i = 0; log && i < 12; ++i) {
        const auto info = (*log)->append_as_leader(make_batch(2, kNow + i), 0, kNow);
        acknowledged += info ? 2 : 0;
      }
      if (log) {
        (void)(*log)->close();
      }
    }
    const bool reached_the_end = disk.changes() < n;
    disk.fail_nth(0);
    auto log = open(disk, config);
    INFO("failing call " << n);
    REQUIRE(log.has_value());
    CHECK((*log)->end_offset() >= acknowledged);
    if (reached_the_end) {
      break;
    }
  }
}

TEST_CASE("a bit flipped anywhere in the log is never served after recovery") {
  SimDisk reference;
  const LogConfig config{};
  {
    auto log = *open(reference, config);
    for (int i = 0; i < 4; ++i) {
      REQUIRE(log->append_as_leader(make_batch(1, kNow + i, 20), 0, kNow).has_value());
    }
  }
  auto whole = *open(reference, config);
  const std::string before = read_all(*whole, 0);
  const std::string file = "/d/t-0/00000000000000000000.log";
  for (uint64_t byte = 0; byte < before.size(); ++byte) {
    SimDisk disk;
    {
      auto log = *open(disk, config);
      for (int i = 0; i < 4; ++i) {
        REQUIRE(log->append_as_leader(make_batch(1, kNow + i, 20), 0, kNow).has_value());
      }
    }
    disk.flip_bit(file, byte, static_cast<int>(byte % 8));
    auto log = open(disk, config);
    REQUIRE(log.has_value());
    const std::string after = read_all(**log, 0);
    const uint64_t in_batch = byte % (before.size() / 4);
    // Base offset and leader epoch lie outside the checksum (FORMAT.md).
    const bool unchecked = in_batch < 8 || (in_batch >= 12 && in_batch < 16);
    INFO("byte " << byte);
    CHECK((unchecked || before.starts_with(after)));
    CHECK(after.size() <= before.size());
  }
}

TEST_CASE("a bit flipped anywhere in an index never makes a reader get anything but its batch") {
  const LogConfig config{.index_interval_bytes = 1};
  SimDisk reference;
  {
    auto log = *open(reference, config);
    for (int i = 0; i < 12; ++i) {
      REQUIRE(log->append_as_leader(make_batch(2, kNow + i, 20), 0, kNow).has_value());
    }
    REQUIRE(log->close());
  }
  for (const char* name :
       {"/d/t-0/00000000000000000000.index", "/d/t-0/00000000000000000000.timeindex"}) {
    const uint64_t size = *reference.size_of(name);
    REQUIRE(size > 0);
    for (uint64_t bit = 0; bit < size * 8; ++bit) {
      reference.flip_bit(name, bit / 8, static_cast<int>(bit % 8));
      auto log = Log::open(reference, "/d/t-0", config, {.clean = true, .now_ms = kNow});
      INFO(name << " bit " << bit);
      REQUIRE(log);
      for (int64_t offset = 0; offset < 24; ++offset) {
        int64_t base = -1;
        REQUIRE((*log)->visit(offset, [&](const protocol::BatchView& batch) {
          base = batch.base_offset();
          return false;
        }));
        CHECK(base == offset / 2 * 2);
      }
      reference.flip_bit(name, bit / 8, static_cast<int>(bit % 8));
    }
  }
}

TEST_CASE("a medium that lies about syncs: what is left after a power cut is what was written") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimDisk disk(seed);
    const LogConfig config{.segment_bytes = 1500};
    std::string before;
    {
      auto log = *open(disk, config);
      for (int i = 0; i < 30; ++i) {
        disk.lie_about_syncs(i > 10);
        REQUIRE(log->append_as_leader(make_batch(2, kNow + i, 50 + seed), 0, kNow).has_value());
        REQUIRE(log->flush(kNow));
      }
      before = read_all(*log, 0);
    }
    disk.cut_power();
    auto log = open(disk, config);
    INFO("seed " << seed);
    REQUIRE(log.has_value());
    // Whole segments may be gone, but nothing is torn, moved or made up.
    int64_t last = -1;
    REQUIRE((*log)->visit(0, [&](const protocol::BatchView& batch) {
      CHECK(batch.base_offset() > last);
      last = batch.last_offset();
      CHECK(before.find(std::string(reinterpret_cast<const char*>(batch.bytes().data()),
                                    batch.size())) != std::string::npos);
      return true;
    }));
  }
}

TEST_CASE("a disk that fills up at any byte refuses cleanly, and goes on when there is room") {
  const LogConfig config{.segment_bytes = 900};
  for (uint64_t capacity = 1; capacity < 3000; capacity += 37) {
    SimDisk disk(capacity);
    auto log = *open(disk, config);
    INFO("capacity " << capacity);
    disk.set_capacity(capacity);
    int64_t acknowledged = 0;
    for (int i = 0; i < 20; ++i) {
      const auto info = log->append_as_leader(make_batch(2, kNow + i), 0, kNow);
      CHECK((info || is_disk_full(info.error())));
      acknowledged += info ? 2 : 0;
      CHECK(log->end_offset() == acknowledged);
    }
    const std::string held = read_all(*log, 0);
    disk.set_capacity(UINT64_MAX);
    REQUIRE(log->append_as_leader(make_batch(2, kNow), 0, kNow));
    log = *open(disk, config);
    CHECK(log->end_offset() == acknowledged + 2);
    CHECK(read_all(*log, 0).starts_with(held));
  }
}

namespace {

// Transactions of one producer, every other one aborted, each marker tried until it is taken.
struct Transactions {
  Log& log;
  int32_t sequence = 0;
  TxnIndex aborted{};

  // True when the marker was taken at once.
  bool run(bool aborts, const std::function<void()>& before_marker,
           const std::function<void()>& after_refusal) {
    const auto data = log.append_as_leader(make_batch(1, kNow, 10,
                                                      {.producer_id = 7,
                                                       .producer_epoch = 0,
                                                       .base_sequence = sequence,
                                                       .transactional = true}),
                                           0, kNow);
    REQUIRE(data);
    ++sequence;
    before_marker();
    const int64_t end = log.end_offset();
    auto info = log.append_as_leader(build_end_marker(7, 0, {aborts, 1}, kNow), 0, kNow);
    const bool at_once = info.has_value();
    if (!at_once) {
      CHECK(log.end_offset() == end);
      after_refusal();
      info = log.append_as_leader(build_end_marker(7, 0, {aborts, 1}, kNow), 0, kNow);
      REQUIRE(info);
    }
    if (aborts) {
      aborted.push_back({7, data->base_offset, info->last_offset, info->last_offset + 1});
    }
    return at_once;
  }
};

}  // namespace

TEST_CASE("a marker that the list of aborted transactions has no room for is not there at all") {
  bool was_refused = false;
  for (int n = 1; n < 8; ++n) {
    SimDisk disk(static_cast<uint64_t>(n));
    auto log = *open(disk, {.segment_bytes = 900});
    Transactions transactions{*log};
    for (int i = 0; i < 8; ++i) {
      const bool taken = transactions.run(
          i % 2 == 0, [&] { disk.fail_nth(n, 28 /* ENOSPC */); }, [&] { disk.fail_nth(0); });
      disk.fail_nth(0);
      was_refused = was_refused || !taken;
      INFO("failing call " << n << ", transaction " << i);
      REQUIRE(*log->aborted_between(0, log->end_offset()) == transactions.aborted);
    }
    for (const bool clean : {true, false}) {
      REQUIRE(log->close());
      log = *Log::open(disk, "/d/t-0", {.segment_bytes = 900}, {.clean = clean, .now_ms = kNow});
      CHECK(*log->aborted_between(0, log->end_offset()) == transactions.aborted);
    }
  }
  CHECK(was_refused);
}
