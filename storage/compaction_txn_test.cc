// Compaction of a log with transactions against a model: a reader of committed records sees the
// same newest record of every key before and after, and what was aborted is gone in the end.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "storage/compaction.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;
using protocol::BatchBuilder;
using protocol::BatchView;

namespace {

constexpr int64_t kNow = 1'000'000'000;
constexpr int64_t kRetention = 1000;

LogConfig config() {
  LogConfig config;
  config.segment_bytes = 600;
  config.index_interval_bytes = 1;
  config.cleanup_compact = true;
  config.cleanup_delete = false;
  config.min_cleanable_dirty_ratio = 0;
  config.delete_retention_ms = kRetention;
  return config;
}

std::unique_ptr<Log> open_log(SimDisk& disk, int64_t recovery_point = 0) {
  auto log =
      Log::open(disk, "/log/t-0", config(), {.recovery_point = recovery_point, .now_ms = kNow});
  REQUIRE(log);
  return std::move(*log);
}

std::string text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What stands in the log, of which what a reader of committed records is shown: it leaves out what
// the list of aborted transactions names, up to their markers, as the clients do.
struct View {
  std::map<std::string, std::pair<int64_t, std::string>> newest;  // key -> offset, value
  std::set<std::string> values;                                   // committed or not
  size_t markers = 0;
};

View view_of(Log& log) {
  View view;
  auto aborted = log.aborted_between(log.start_offset(), log.end_offset());
  REQUIRE(aborted);
  std::sort(aborted->begin(), aborted->end(),
            [](const auto& a, const auto& b) { return a.first_offset < b.first_offset; });
  std::set<int64_t> aborting;
  size_t next = 0;
  const int64_t stable = log.first_unstable_offset(log.end_offset());
  REQUIRE(log.visit(log.start_offset(), [&](const BatchView& batch) {
    for (; next < aborted->size() && (*aborted)[next].first_offset <= batch.last_offset(); ++next) {
      aborting.insert((*aborted)[next].producer_id);
    }
    if (batch.is_control()) {
      view.markers += static_cast<size_t>(batch.count());
      aborting.erase(batch.producer_id());
      return true;
    }
    const bool is_seen = !(batch.is_transactional() && aborting.contains(batch.producer_id())) &&
                         batch.base_offset() < stable;
    protocol::RecordIterator records(batch.body(), batch.count());
    for (auto record = records.next(); record && *record; record = records.next()) {
      const std::string value = text(*(*record)->value);
      view.values.insert(value);
      if (is_seen) {
        view.newest[text(*(*record)->key)] = {batch.base_offset() + (*record)->offset_delta, value};
      }
    }
    return true;
  }));
  return view;
}

class Writer {
 public:
  Writer(Log& log, uint64_t seed) : log_(log), random_(seed) {}

  // Plain records and interleaved transactions of three producers, each committed or aborted.
  void write(int steps) {
    for (int i = 0; i < steps; ++i) {
      const auto producer = static_cast<int64_t>(random_.next() % 4);
      if (producer == 3) {
        data({}, "plain-" + std::to_string(serial_++));
      } else if (open_[producer] && random_.next() % 3 == 0) {
        end(producer, random_.next() % 2 == 0);
      } else {
        open_[producer] = true;
        data({.producer_id = producer,
              .producer_epoch = 0,
              .base_sequence = sequence_[producer]++,
              .transactional = true},
             "txn-" + std::to_string(producer) + "-" + std::to_string(serial_++));
      }
    }
  }
  void end_all(bool commits) {
    for (auto& [producer, is_open] : open_) {
      if (is_open) {
        end(producer, commits);
      }
    }
  }
  void data(protocol::BatchOptions options, const std::string& value) {
    BatchBuilder builder(options);
    builder.add(kNow, span_of("k" + std::to_string(random_.next() % 7)), span_of(value));
    REQUIRE(log_.append_as_leader(builder.build(), 0, kNow));
  }

 private:
  void end(int64_t producer, bool commits) {
    REQUIRE(log_.append_as_leader(build_end_marker(producer, 0, {!commits, 1}, kNow), 0, kNow));
    open_[producer] = false;
  }

  Log& log_;
  SimRandom random_;
  std::map<int64_t, bool> open_;
  std::map<int64_t, int32_t> sequence_;
  int serial_ = 0;
};

Result<> compact(Log& log, int64_t now_ms, uint64_t steps_max = UINT64_MAX) {
  const int64_t stable = std::min(log.end_offset(), log.first_unstable_offset(log.end_offset()));
  TRY(const auto compaction, Compaction::begin(log, stable, now_ms, 1 << 20));
  bool done = compaction == nullptr;
  for (uint64_t i = 0; !done && i < steps_max; ++i) {
    TRY(done, compaction->step(300));
  }
  return {};
}

}  // namespace

TEST_CASE("a reader of committed records sees the same before and after a compaction") {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    INFO("seed " << seed);
    SimDisk disk(seed);
    auto log = open_log(disk);
    Writer writer(*log, seed);
    for (int round = 0; round < 3; ++round) {
      writer.write(40);
      const View before = view_of(*log);
      REQUIRE(compact(*log, kNow + round * kRetention / 2));
      CHECK(view_of(*log).newest == before.newest);
    }
    const View before = view_of(*log);
    const int64_t recovery_point = log->recovery_point();
    log = open_log(disk, recovery_point);  // after kill -9
    CHECK(view_of(*log).newest == before.newest);
  }
}

TEST_CASE("a compaction with transactions survives a power cut anywhere") {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    INFO("seed " << seed);
    SimDisk disk(seed);
    auto log = open_log(disk);
    Writer writer(*log, seed);
    writer.write(60);
    REQUIRE(log->flush(kNow));
    const View before = view_of(*log);
    REQUIRE(compact(*log, kNow, seed % 30));
    const int64_t recovery_point = log->recovery_point();
    log.reset();
    disk.cut_power();
    log = open_log(disk, recovery_point);
    CHECK(view_of(*log).newest == before.newest);
    log->close();
    log = open_log(disk, recovery_point);
    CHECK(view_of(*log).newest == before.newest);
  }
}

TEST_CASE("aborted records go at once, markers after their delete horizon, but for the last ones") {
  SimDisk disk;
  auto log = open_log(disk);
  Writer writer(*log, 7);
  writer.write(80);
  writer.end_all(false);
  for (int i = 0; i < 20; ++i) {
    writer.data({}, "later-" + std::to_string(i));
  }
  const View before = view_of(*log);
  const size_t aborted = log->aborted_between(0, log->end_offset())->size();
  REQUIRE(compact(*log, kNow));
  const View once = view_of(*log);
  CHECK(once.newest == before.newest);
  CHECK(once.values.size() < before.values.size());
  // Cleaned again, now that nothing is left of the aborted transactions, and after the horizon.
  for (int i = 1; i <= 3; ++i) {
    log->set_cleaned_to(0);
    REQUIRE(compact(*log, kNow + 2 * i * kRetention));
  }
  const View last = view_of(*log);
  CHECK(last.newest == before.newest);
  CHECK(last.markers < once.markers);
  CHECK(once.markers == before.markers);
  CHECK(log->aborted_between(0, log->end_offset())->size() < aborted);
}
