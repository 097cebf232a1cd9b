#include "storage/txn_index.h"

#include <catch2/catch.hpp>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

constexpr int64_t kNow = 1'800'000'000'000;
const char* const kPath = "/d/t-0/00000000000000000000.txnindex";

protocol::Bytes transactional(int64_t producer, int16_t epoch, int32_t sequence, int count = 1) {
  return make_batch(count, kNow, 20,
                    {.producer_id = producer,
                     .producer_epoch = epoch,
                     .base_sequence = sequence,
                     .transactional = true});
}

protocol::Bytes marker(int64_t producer, int16_t epoch, bool commits, int32_t coordinator = 3) {
  return build_end_marker(producer, epoch, {!commits, coordinator}, kNow);
}

std::unique_ptr<Log> open(SimDisk& disk, bool clean = false) {
  auto log = Log::open(disk, "/d/t-0", {.segment_bytes = 400}, {.clean = clean, .now_ms = kNow});
  REQUIRE(log);
  return std::move(*log);
}

void append(Log& log, protocol::Bytes batch) {
  REQUIRE(log.append_as_leader(std::move(batch), 0, kNow));
}

TxnIndex aborted(Log& log, int64_t from, size_t size_max = 1 << 20) {
  const auto read = log.read_committed(from, size_max, log.end_offset(), true);
  REQUIRE(read);
  return read->aborted;
}

// Two interleaved transactions, one aborted: offsets 0-1 of 7, 2 of 8, marker of 7 (abort) at 3,
// marker of 8 (commit) at 4.
void write_two(Log& log) {
  append(log, transactional(7, 0, 0, 2));
  append(log, transactional(8, 0, 0));
  append(log, marker(7, 0, false));
  append(log, marker(8, 0, true));
}

}  // namespace

TEST_CASE("txn index: what is stable follows the markers") {
  SimDisk disk;
  auto log = open(disk);
  append(*log, make_batch(1, kNow));
  CHECK(log->first_unstable_offset(1) == INT64_MAX);
  append(*log, transactional(7, 0, 0));
  append(*log, transactional(8, 0, 0));
  CHECK(log->first_unstable_offset(3) == 1);
  append(*log, marker(7, 0, false));
  // The marker is not replicated before the high watermark has passed it.
  CHECK(log->first_unstable_offset(3) == 1);
  CHECK(log->first_unstable_offset(4) == 2);
  append(*log, marker(8, 0, true));
  CHECK(log->first_unstable_offset(5) == INT64_MAX);
}

TEST_CASE("txn index: a reader is told of the aborted transactions that overlap its fetch") {
  SimDisk disk;
  auto log = open(disk);
  write_two(*log);
  const AbortedTxn first{7, 0, 3, 2};
  CHECK(aborted(*log, 0) == TxnIndex{first});
  CHECK(aborted(*log, 3) == TxnIndex{first});
  CHECK(aborted(*log, 4).empty());
  for (int i = 0; i < 5; ++i) {  // into other segments
    append(*log, transactional(7, 0, 2 + i));
  }
  append(*log, marker(7, 0, false));
  REQUIRE(log->segment_count() > 1);
  CHECK(aborted(*log, 5) == TxnIndex{{7, 5, 10, 11}});
}

TEST_CASE("txn index: the same after a clean stop, a crash and a damaged index") {
  SimDisk disk;
  bool clean = false;
  {
    auto log = open(disk);
    write_two(*log);
    append(*log, transactional(9, 0, 0));
    REQUIRE(disk.size_of(kPath) == kAbortedTxnSize);
    SECTION("clean") {
      REQUIRE(log->close());
      clean = true;
    }
    SECTION("crash") {}
    SECTION("crash without index") { REQUIRE(disk.remove(kPath)); }
    SECTION("crash with a torn index") {
      REQUIRE((*disk.open(kPath, OpenMode::kReadWrite))->truncate(20));
    }
    SECTION("clean, then a torn index") {
      REQUIRE(log->close());
      REQUIRE((*disk.open(kPath, OpenMode::kReadWrite))->truncate(20));
      clean = true;
    }
  }
  auto log = open(disk, clean);
  CHECK(aborted(*log, 0) == TxnIndex{{7, 0, 3, 2}});
  CHECK(log->first_unstable_offset(6) == 5);
  CHECK(disk.size_of(kPath) == kAbortedTxnSize);
}

TEST_CASE("txn index: truncation takes markers away and opens their transactions again") {
  SimDisk disk;
  auto log = open(disk);
  write_two(*log);
  REQUIRE(log->truncate_to(3));
  CHECK(log->first_unstable_offset(3) == 0);
  CHECK(aborted(*log, 0).empty());
  append(*log, marker(7, 0, true));
  CHECK(log->first_unstable_offset(4) == 2);
}

TEST_CASE("txn index: epochs and sequences around markers") {
  SimDisk disk;
  auto log = open(disk);
  append(*log, transactional(7, 1, 0));
  CHECK(log->append_as_leader(marker(7, 0, false), 0, kNow).error().code ==
        ErrorCode::kInvalidProducerEpoch);
  append(*log, marker(7, 1, false, 5));
  CHECK(log->append_as_leader(marker(7, 1, true, 4), 0, kNow).error().code ==
        ErrorCode::kTransactionCoordinatorFenced);
  // The same epoch goes on where it was; a new one begins at 0.
  CHECK(log->append_as_leader(transactional(7, 1, 5), 0, kNow).error().code ==
        ErrorCode::kOutOfOrderSequenceNumber);
  append(*log, transactional(7, 1, 1));
  append(*log, marker(7, 2, true, 5));
  CHECK(log->append_as_leader(transactional(7, 2, 1), 0, kNow).error().code ==
        ErrorCode::kOutOfOrderSequenceNumber);
  append(*log, transactional(7, 2, 0));
}
