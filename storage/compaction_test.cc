// Compaction against a model: whatever happens on the way, the newest record of every key is there
// at its offset, nothing comes back, and what stays is what was written.
#include "storage/compaction.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "protocol/records/compression.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;
using protocol::BatchBuilder;
using protocol::BatchView;
using protocol::Bytes;

namespace {

constexpr int64_t kNow = 1'000'000'000;

LogConfig compacted() {
  LogConfig config;
  config.segment_bytes = 1500;
  config.cleanup_compact = true;
  config.cleanup_delete = false;
  config.min_cleanable_dirty_ratio = 0;
  config.delete_retention_ms = 1000;
  return config;
}

struct Entry {
  std::string key;
  std::optional<std::string> value;
  int64_t timestamp;
  bool operator==(const Entry&) const = default;
};
using Content = std::map<int64_t, Entry>;  // by offset

std::string text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Content content_of(Log& log) {
  Content content;
  int64_t last = -1;
  REQUIRE(log.visit(log.start_offset(), [&](const BatchView& batch) {
    const auto plain = protocol::decompress(batch.compression(), batch.body(), 1 << 20);
    REQUIRE(plain);
    protocol::RecordIterator records(plain->span(), batch.count());
    for (auto record = records.next(); record && *record; record = records.next()) {
      const int64_t offset = batch.base_offset() + (*record)->offset_delta;
      CHECK(offset > last);
      last = offset;
      content[offset] = {text((*record)->key.value_or(std::span<const uint8_t>())),
                         (*record)->value ? std::optional(text(*(*record)->value)) : std::nullopt,
                         batch.base_timestamp() + (*record)->timestamp_delta};
    }
    return true;
  }));
  return content;
}

std::map<std::string, std::pair<int64_t, Entry>> newest_of(const Content& content) {
  std::map<std::string, std::pair<int64_t, Entry>> newest;
  for (const auto& [offset, entry] : content) {
    newest[entry.key] = {offset, entry};
  }
  return newest;
}

// What is below the recovery point is taken as it is found.
std::unique_ptr<Log> open_log(SimDisk& disk, const LogConfig& config = compacted(),
                              int64_t recovery_point = 0) {
  auto log =
      Log::open(disk, "/log/t-0", config, {.recovery_point = recovery_point, .now_ms = kNow});
  REQUIRE(log);
  return std::move(*log);
}

void append(Log& log, const std::vector<Entry>& entries, protocol::BatchOptions options = {}) {
  BatchBuilder builder(options);
  for (const Entry& entry : entries) {
    builder.add(entry.timestamp, span_of(entry.key),
                entry.value ? std::optional(span_of(*entry.value)) : std::nullopt);
  }
  REQUIRE(log.append_as_leader(builder.build(), 0, kNow));
}

Result<> compact(Log& log, int64_t now_ms, uint64_t budget = 200) {
  TRY(const auto compaction, Compaction::begin(log, log.end_offset(), now_ms, 1 << 20));
  bool done = compaction == nullptr;
  while (!done) {
    TRY(done, compaction->step(budget));
  }
  return {};
}

// Random batches over few keys; the last segment stays open. The segments are so small that
// compaction joins several.
void write_history(Log& log, uint64_t seed) {
  SimRandom random(seed);
  LogConfig small = log.config();
  small.segment_bytes = 500;
  small.index_interval_bytes = 1;
  log.set_config(small);
  for (int i = 0; i < 60; ++i) {
    std::vector<Entry> entries;
    for (uint64_t n = random.next() % 4 + 1; n > 0; --n) {
      const std::string key = "k" + std::to_string(random.next() % 9);
      const bool is_tombstone = random.next() % 6 == 0;
      entries.push_back({key,
                         is_tombstone ? std::nullopt
                                      : std::optional("v" + std::to_string(random.next() % 1000) +
                                                      std::string(random.next() % 80, 'x')),
                         kNow - 100'000 + i});
    }
    append(log, entries, {.compression = static_cast<protocol::Compression>(random.next() % 5)});
  }
  small.segment_bytes = compacted().segment_bytes;
  log.set_config(small);
}

// Every record that is left is one that was written, and no key lost its newest.
void check_against(const Content& before, Log& log) {
  const Content after = content_of(log);
  for (const auto& [offset, entry] : after) {
    REQUIRE(before.contains(offset));
    CHECK(before.at(offset) == entry);
  }
  CHECK(newest_of(after) == newest_of(before));
  // The indexes lead to the first batch at or above an offset.
  std::vector<int64_t> ends;
  REQUIRE(log.visit(0, [&](const BatchView& batch) {
    ends.push_back(batch.last_offset());
    return true;
  }));
  for (int64_t offset = 0; offset < log.end_offset(); ++offset) {
    int64_t found = -1;
    const auto visited = log.visit(offset, [&](const BatchView& batch) {
      found = batch.last_offset();
      return false;
    });
    INFO((visited ? "" : visited.error().why));
    REQUIRE(visited);
    CHECK(found == *std::lower_bound(ends.begin(), ends.end(), offset));
  }
}

}  // namespace

TEST_CASE("the newest record of each key stays at its offset") {
  SimDisk disk;
  auto log = open_log(disk);
  const std::string filler(400, 'f');
  append(*log, {{"a", "1", kNow - 9}, {"b", "1", kNow - 8}});
  append(*log, {{"a", "2" + filler, kNow - 7}});
  append(*log, {{"c", "1" + filler, kNow - 6}});
  append(*log, {{"b", "2" + filler, kNow - 5}});
  append(*log, {{"a", "3" + filler, kNow - 4}});  // in the open segment: its key is not read
  REQUIRE(log->segment_count() == 2);
  REQUIRE(compact(*log, kNow));
  const Content content = content_of(*log);
  std::vector<int64_t> offsets;
  for (const auto& [offset, entry] : content) {
    offsets.push_back(offset);
  }
  CHECK(offsets == std::vector<int64_t>{2, 3, 4, 5});
  CHECK(log->cleaned_to() == 5);
  CHECK(log->start_offset() == 0);
  CHECK(log->find_timestamp(kNow - 9)->offset == 2);
  const auto payload = log->read(0, 1 << 20, INT64_MAX, true);
  REQUIRE(payload);
  CHECK(payload->size() > 0);
}

TEST_CASE("a tombstone goes when its time is over, not before") {
  SimDisk disk;
  auto log = open_log(disk);
  const std::string filler(800, 'f');
  append(*log, {{"a", "1", kNow}});
  append(*log, {{"a", std::nullopt, kNow}, {"b", filler, kNow}});
  append(*log, {{"c", filler, kNow}});
  append(*log, {{"d", filler, kNow}});
  REQUIRE(compact(*log, kNow));
  CHECK_FALSE(content_of(*log).contains(0));
  CHECK(content_of(*log).contains(1));
  const auto again = [&](int64_t now) {
    append(*log, {{"x", filler, now}});
    append(*log, {{"y", filler, now}});
    REQUIRE(compact(*log, now));
  };
  again(kNow + 999);
  CHECK(content_of(*log).contains(1));
  again(kNow + 1000);
  CHECK_FALSE(content_of(*log).contains(1));
  CHECK(content_of(*log).contains(2));
}

TEST_CASE("dirty ratio, lags and the stable end say when") {
  SimDisk disk;
  LogConfig config = compacted();
  config.min_cleanable_dirty_ratio = 0.5;
  auto log = open_log(disk, config);
  write_history(*log, 1);
  CHECK(*Compaction::begin(*log, 0, kNow, 1 << 20) == nullptr);
  config.min_compaction_lag_ms = 200'000;
  log->set_config(config);
  CHECK(*Compaction::begin(*log, log->end_offset(), kNow, 1 << 20) == nullptr);
  config.min_compaction_lag_ms = 0;
  log->set_config(config);
  REQUIRE(compact(*log, kNow));
  append(*log, {{"a", std::string(1000, 'x'), kNow}});
  append(*log, {{"a", std::string(1000, 'x'), kNow}});
  config.min_cleanable_dirty_ratio = 0.9;
  log->set_config(config);
  CHECK(*Compaction::begin(*log, log->end_offset(), kNow, 1 << 20) == nullptr);
  config.max_compaction_lag_ms = 10;
  log->set_config(config);
  CHECK(*Compaction::begin(*log, log->end_offset(), kNow + 11, 1 << 20) != nullptr);
}

TEST_CASE("random histories keep every key's newest record, in slices of any size") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimDisk disk(seed);
    auto log = open_log(disk);
    write_history(*log, seed);
    Content before = content_of(*log);
    REQUIRE(compact(*log, kNow, seed % 3 == 0 ? 1 : seed * 100));
    check_against(before, *log);
    write_history(*log, seed + 1000);
    before = content_of(*log);
    REQUIRE(compact(*log, kNow, 500));
    check_against(before, *log);
    const int64_t recovery_point = log->recovery_point();
    log = open_log(disk, compacted(), recovery_point);  // after kill -9
    check_against(before, *log);
  }
}

TEST_CASE("a compaction that any call fails leaves the log whole, also for the next start") {
  const auto seed = GENERATE(1u, 2u, 3u, 4u, 5u);
  bool finished = false;
  for (int n = 1; !finished; ++n) {
    SimDisk disk(static_cast<uint64_t>(n));
    auto log = open_log(disk);
    write_history(*log, seed);
    REQUIRE(log->flush(kNow));
    const Content before = content_of(*log);
    disk.fail_nth(n);
    finished = compact(*log, kNow).has_value();
    disk.fail_nth(0);
    const int64_t recovery_point = log->recovery_point();
    log.reset();
    if (n % 2 == 0) {
      disk.cut_power();
    }
    log = open_log(disk, compacted(), recovery_point);
    check_against(before, *log);
    REQUIRE(n < 500);
  }
}

TEST_CASE("a power cut anywhere in a compaction loses nothing") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SimDisk disk(seed);
    auto log = open_log(disk);
    write_history(*log, seed);
    REQUIRE(log->flush(kNow));
    const Content before = content_of(*log);
    auto compaction = Compaction::begin(*log, log->end_offset(), kNow, 1 << 20);
    REQUIRE(compaction);
    for (uint64_t steps = seed % 40; steps > 0; --steps) {
      const auto done = (*compaction)->step(400);
      REQUIRE(done);
      if (*done) {
        break;
      }
    }
    compaction->reset();
    const int64_t recovery_point = log->recovery_point();
    log.reset();
    disk.cut_power();
    log = open_log(disk, compacted(), recovery_point);
    check_against(before, *log);
  }
}

TEST_CASE("the last batch of a producer stays, if need be without records") {
  SimDisk disk;
  auto log = open_log(disk);
  const std::string filler(1000, 'f');
  const auto batch_of = [](int32_t sequence) {
    return protocol::BatchOptions{.producer_id = 5, .producer_epoch = 1, .base_sequence = sequence};
  };
  append(*log, {{"a", "1", kNow}}, batch_of(0));
  append(*log, {{"a", "2", kNow}}, batch_of(1));
  append(*log, {{"a", "3", kNow}});
  append(*log, {{"b", filler, kNow}});
  append(*log, {{"c", filler, kNow}});
  REQUIRE(compact(*log, kNow));
  std::vector<std::pair<int64_t, int32_t>> batches;
  REQUIRE(log->visit(0, [&](const BatchView& batch) {
    batches.emplace_back(batch.base_offset(), batch.count());
    return true;
  }));
  CHECK(batches == std::vector<std::pair<int64_t, int32_t>>{{1, 0}, {2, 1}, {3, 1}, {4, 1}});
  BatchBuilder next(batch_of(2));
  next.add(kNow, span_of("a"), span_of("4"));
  CHECK(log->append_as_leader(next.build(), 0, kNow));
}

TEST_CASE("a cleaned segment may be synced by somebody else, and by nobody twice") {
  for (const bool by_caller : {true, false}) {
    SimDisk disk;
    auto log = open_log(disk);
    write_history(*log, 3);
    REQUIRE(log->flush(kNow));
    const Content before = content_of(*log);
    auto compaction = Compaction::begin(*log, log->end_offset(), kNow, 1 << 20);
    REQUIRE(compaction);
    REQUIRE(*compaction != nullptr);
    int handed_out = 0;
    Result<bool> done = false;
    while (!*done) {
      if (by_caller && (*compaction)->unsynced() != nullptr) {
        ++handed_out;
        REQUIRE((*compaction)->unsynced()->sync());
        (*compaction)->note_synced();
      }
      done = (*compaction)->step(400);
      REQUIRE(done);
    }
    CHECK((handed_out > 0) == by_caller);
    CHECK(content_of(*log).size() < before.size());
    const Content after = content_of(*log);
    compaction->reset();
    log.reset();
    disk.cut_power();
    CHECK(content_of(*open_log(disk)) == after);
  }
}
