#include "storage/log.h"

#include <catch2/catch.hpp>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

constexpr int64_t kNow = 1'800'000'000'000;

struct LogFixture {
  SimDisk disk;
  LogConfig config;
  std::unique_ptr<Log> log;

  explicit LogFixture(LogConfig with = {}) : config(with) { open(false); }
  void open(bool clean, int64_t recovery_point = 0, int64_t start = 0) {
    log.reset();
    auto opened = Log::open(disk, "/d/t-0", config,
                            {.recovery_point = recovery_point,
                             .log_start_offset = start,
                             .clean = clean,
                             .now_ms = kNow});
    REQUIRE(opened.has_value());
    log = std::move(*opened);
  }
  AppendInfo append(int count = 1, int64_t timestamp = kNow, protocol::BatchOptions options = {}) {
    auto info = log->append_as_leader(make_batch(count, timestamp, 100, options), 1, kNow);
    REQUIRE(info.has_value());
    return *info;
  }
};

}  // namespace

TEST_CASE("appended batches get consecutive offsets and the leader's epoch and read back whole") {
  LogFixture f;
  CHECK(f.append(3).base_offset == 0);
  CHECK(f.append(2).base_offset == 3);
  CHECK(f.log->end_offset() == 5);
  const std::string content = read_all(*f.log, 0);
  const auto batch = protocol::BatchView::parse(span_of(content));
  CHECK(batch->leader_epoch() == 1);
  CHECK(batch->crc_matches());
  CHECK(f.log->epochs().latest() == 1);
}

TEST_CASE("reading outside the log is out of range, at its end it is empty") {
  LogFixture f;
  f.append(2);
  CHECK(f.log->read(2, 100, INT64_MAX, true)->size() == 0);
  CHECK(f.log->read(3, 100, INT64_MAX, true).error().code == ErrorCode::kOffsetOutOfRange);
  CHECK(f.log->read(-1, 100, INT64_MAX, true).error().code == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("a read stops at its size and at its bound, but gives one batch whole if asked") {
  LogFixture f;
  for (int i = 0; i < 50; ++i) {
    f.append(1);
  }
  const size_t one = make_batch(1, kNow).size();
  CHECK(f.log->read(0, 10, INT64_MAX, true)->size() == one);
  CHECK(f.log->read(0, 10, INT64_MAX, false)->size() == 10);
  CHECK(f.log->read(0, 1 << 20, 7, true)->size() == 7 * one);
  CHECK(f.log->read(7, 1 << 20, 7, true)->size() == 0);
}

TEST_CASE("the log rolls by size, and every offset is found in every segment") {
  LogFixture f({.segment_bytes = 2000, .index_interval_bytes = 300});
  for (int i = 0; i < 100; ++i) {
    f.append(2);
  }
  CHECK(f.log->segment_count() > 5);
  for (int64_t offset = 0; offset < 200; ++offset) {
    const auto payload = f.log->read(offset, 1, INT64_MAX, true);
    REQUIRE(payload->size() > 0);
    const auto& piece = payload->pieces().front();
    uint8_t header[61];
    REQUIRE(piece.source->read_at(piece.position, header).has_value());
    CHECK(protocol::load<int64_t>(header) == offset / 2 * 2);
  }
}

TEST_CASE("the log rolls by time") {
  LogFixture f({.segment_ms = 1000});
  f.append(1, kNow);
  f.append(1, kNow + 1000);
  CHECK(f.log->segment_count() == 1);
  f.append(1, kNow + 1001);
  CHECK(f.log->segment_count() == 2);
}

TEST_CASE("offsets are found by time, also in compressed batches") {
  LogFixture f({.segment_bytes = 3000, .index_interval_bytes = 200});
  for (int i = 0; i < 40; ++i) {
    f.append(
        5, kNow + 10 * i,
        {.compression = i % 2 == 0 ? protocol::Compression::kNone : protocol::Compression::kZstd});
  }
  for (const int64_t time :
       {int64_t{0}, int64_t{3}, int64_t{5}, int64_t{114}, int64_t{390}, int64_t{394}}) {
    const auto found = f.log->find_timestamp(kNow + time);
    REQUIRE(found.has_value());
    const int64_t within = time % 10;
    const int64_t expected = time / 10 * 5 + std::min<int64_t>(within, 5);
    CHECK(found->offset == expected);
  }
  CHECK(f.log->find_timestamp(kNow + 395)->offset == -1);
  CHECK(f.log->find_max_timestamp()->offset == 199);
  CHECK(f.log->find_max_timestamp()->timestamp == kNow + 394);
}

TEST_CASE("duplicates are answered from memory and after a restart") {
  LogFixture f;
  const protocol::BatchOptions first{.producer_id = 9, .producer_epoch = 0, .base_sequence = 0};
  CHECK(f.append(2, kNow, first).base_offset == 0);
  f.append(1);
  for (const bool clean : {true, false}) {
    CHECK(f.append(2, kNow, first).duplicate);
    CHECK(f.log->end_offset() == 3);
    REQUIRE(f.log->close().has_value());
    f.open(clean);
  }
  CHECK(f.append(2, kNow, first).duplicate);
}

TEST_CASE("retention by time and by size removes whole segments and moves the start") {
  LogFixture f({.segment_bytes = 1000, .retention_ms = 5000, .file_delete_delay_ms = 100});
  for (int i = 0; i < 20; ++i) {
    f.append(1, kNow + i * 1000);
  }
  REQUIRE(f.log->housekeep(20, kNow + 15'000, 86'400'000).has_value());
  CHECK(f.log->start_offset() >= 5);
  CHECK(f.log->start_offset() <= 10);
  CHECK(f.log->read(f.log->start_offset(), 100, INT64_MAX, true)->size() > 0);
  CHECK(f.log->read(0, 100, INT64_MAX, true).error().code == ErrorCode::kOffsetOutOfRange);
  LogConfig by_size = f.config;
  by_size.retention_ms = -1;
  by_size.retention_bytes = 1000;
  f.log->set_config(by_size);
  REQUIRE(f.log->housekeep(20, kNow + 15'000, 86'400'000).has_value());
  CHECK(f.log->size() < 2000);
}

TEST_CASE("retention does not touch what is not committed") {
  LogFixture f({.segment_bytes = 300, .retention_ms = 1});
  for (int i = 0; i < 5; ++i) {
    f.append(1, kNow);
  }
  REQUIRE(f.log->housekeep(2, kNow + 60'000, 86'400'000).has_value());
  CHECK(f.log->start_offset() <= 2);
}

TEST_CASE("deleted records stay deleted over a restart with the checkpointed start") {
  LogFixture f({.segment_bytes = 500});
  for (int i = 0; i < 10; ++i) {
    f.append(1);
  }
  REQUIRE(f.log->advance_start(6, kNow).has_value());
  CHECK(f.log->advance_start(11, kNow).error().code == ErrorCode::kOffsetOutOfRange);
  CHECK(f.log->read(5, 10, INT64_MAX, true).error().code == ErrorCode::kOffsetOutOfRange);
  REQUIRE(f.log->close().has_value());
  f.open(true, 0, 6);
  CHECK(f.log->start_offset() == 6);
  CHECK(f.log->end_offset() == 10);
}

TEST_CASE("truncation cuts to a batch boundary and forgets epochs and sequences behind it") {
  LogFixture f;
  f.append(2, kNow, {.producer_id = 9, .producer_epoch = 0, .base_sequence = 0});
  f.append(2, kNow, {.producer_id = 9, .producer_epoch = 0, .base_sequence = 2});
  REQUIRE(f.log->truncate_to(2).has_value());
  CHECK(f.log->end_offset() == 2);
  CHECK_FALSE(
      f.append(2, kNow, {.producer_id = 9, .producer_epoch = 0, .base_sequence = 2}).duplicate);
}

TEST_CASE("a batch larger than a segment is refused") {
  LogFixture f({.segment_bytes = 300});
  CHECK(f.log->append_as_leader(make_batch(1, kNow, 400), 0, kNow).error().code ==
        ErrorCode::kRecordListTooLarge);
}

TEST_CASE("cutting at the end drops an epoch that began there and wrote nothing") {
  LogFixture f;
  f.append(3);
  f.log->begin_epoch(7);
  CHECK(f.log->epochs().latest() == 7);
  REQUIRE(f.log->truncate_to(3));
  CHECK(f.log->end_offset() == 3);
  CHECK(f.log->epochs().latest() == 1);
}
