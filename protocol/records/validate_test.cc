#include "protocol/records/validate.h"

#include <catch2/catch.hpp>

#include "protocol/base/crc32c.h"
#include "protocol/records/builder.h"

using namespace klamm;
using namespace klamm::protocol;

namespace {

constexpr int64_t kNow = 1'800'000'000'000;

std::span<const uint8_t> span_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Bytes batch_of(int count, BatchOptions options = {}, int64_t timestamp = kNow) {
  BatchBuilder builder(options);
  const std::string value(100, 'v');
  for (int i = 0; i < count; ++i) {
    builder.add(timestamp + i, span_of("k"), span_of(value));
  }
  return builder.build();
}

ValidationRules rules() { return {.now_ms = kNow}; }

void set(Bytes& batch, size_t at, uint8_t value, bool mend_crc = true) {
  batch.mutable_data()[at] = value;
  if (mend_crc) {
    store(batch.mutable_data() + 17, crc32c(batch.span().subspan(21)));
  }
}

ErrorCode refusal(Bytes batch, ValidationRules with = rules()) {
  const auto result = validate_produced(std::move(batch), with);
  return result ? ErrorCode::kNone : result.error().code;
}

}  // namespace

TEST_CASE("a good batch passes in every compression and keeps its bytes") {
  for (int codec = 0; codec <= 4; ++codec) {
    const Bytes batch = batch_of(1000, {.compression = static_cast<Compression>(codec)});
    const Bytes copy = Bytes::copy_of(batch.span());
    const auto result = validate_produced(batch, rules());
    REQUIRE(result.has_value());
    CHECK(*result == copy);
  }
}

TEST_CASE("a flipped bit anywhere behind the checksum is a corrupt message") {
  for (size_t at = 21; at < batch_of(3).size(); ++at) {
    Bytes batch = batch_of(3);
    set(batch, at, batch.data()[at] ^ 1, false);
    CHECK(refusal(batch) == ErrorCode::kCorruptMessage);
  }
}

TEST_CASE("impossible headers are refused even with a right checksum") {
  Bytes batch = batch_of(3);
  set(batch, 60, 4);  // count
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3);
  set(batch, 26, 7);  // last offset delta
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3, {.control = true});
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3, {.transactional = true});
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3, {.producer_id = 4, .producer_epoch = 0});
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3, {.base_offset = 1});
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  batch = batch_of(3);
  set(batch, 22, 5);  // codec 5
  CHECK(refusal(batch) == ErrorCode::kUnknownServerError);
}

TEST_CASE("a count that the compressed content does not hold is refused") {
  for (int codec = 1; codec <= 4; ++codec) {
    Bytes batch = batch_of(200, {.compression = static_cast<Compression>(codec)});
    set(batch, 60, 201);
    set(batch, 26, 200);
    CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
    set(batch, 60, 199);
    set(batch, 26, 198);
    CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
  }
}

TEST_CASE("a record's own lengths are checked") {
  Bytes batch = batch_of(1);
  set(batch, kBatchHeaderSize + 5,
      0x7E);  // a key of 63 bytes, where the record holds 1 and a value
  CHECK(refusal(batch) == ErrorCode::kInvalidRecord);
}

TEST_CASE("a compacted topic names each record without a key") {
  BatchBuilder builder({});
  builder.add(kNow, span_of("k"), std::nullopt);
  builder.add(kNow, std::nullopt, std::nullopt);
  ValidationRules compacted = rules();
  compacted.key_required = true;
  const auto result = validate_produced(builder.build(), compacted);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::kInvalidRecord);
  REQUIRE(result.error().records.size() == 1);
  CHECK(result.error().records[0].first == 1);
}

TEST_CASE("timestamps are held to the topic's range") {
  CHECK(refusal(batch_of(1, {}, kNow + 3'600'000)) == ErrorCode::kNone);
  CHECK(refusal(batch_of(1, {}, kNow + 3'600'001)) == ErrorCode::kInvalidTimestamp);
  ValidationRules strict = rules();
  strict.timestamp_before_max_ms = 1000;
  CHECK(refusal(batch_of(1, {}, kNow - 1001), strict) == ErrorCode::kInvalidTimestamp);
}

TEST_CASE("log append time replaces the producer's timestamp") {
  ValidationRules append_time = rules();
  append_time.timestamp_type = TimestampType::kLogAppendTime;
  const auto result = validate_produced(batch_of(2, {}, 5), append_time);
  REQUIRE(result.has_value());
  const auto batch = *BatchView::parse(result->span());
  CHECK(batch.max_timestamp() == kNow);
  CHECK(batch.timestamp_type() == TimestampType::kLogAppendTime);
  CHECK(batch.crc_matches());
}

TEST_CASE("the topic's codec replaces the producer's") {
  ValidationRules zstd = rules();
  zstd.compression = Compression::kZstd;
  const auto result = validate_produced(batch_of(50, {.compression = Compression::kGzip}), zstd);
  REQUIRE(result.has_value());
  CHECK(BatchView::parse(result->span())->compression() == Compression::kZstd);
  CHECK(refusal(*result) == ErrorCode::kNone);
}

TEST_CASE("content over the decompression limit is refused") {
  ValidationRules small = rules();
  small.decompressed_max = 1000;
  CHECK(refusal(batch_of(100, {.compression = Compression::kZstd}), small) ==
        ErrorCode::kRecordListTooLarge);
}
