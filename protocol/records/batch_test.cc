#include "protocol/records/batch.h"

#include <catch2/catch.hpp>

#include "protocol/records/builder.h"

using namespace klamm::protocol;

namespace {

std::span<const uint8_t> span_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Bytes three_records() {
  BatchBuilder builder({.base_offset = 10,
                        .leader_epoch = 3,
                        .producer_id = 5,
                        .producer_epoch = 0,
                        .base_sequence = 8});
  builder.add(1000, span_of("a"), span_of("one"));
  const Header header{"h", span_of("v")};
  builder.add(990, std::nullopt, span_of("two"), {&header, 1});
  builder.add(1010, span_of("c"), std::nullopt);
  return builder.build();
}

}  // namespace

TEST_CASE("a built batch reads back field by field") {
  const Bytes bytes = three_records();
  const auto batch = BatchView::parse(bytes.span());
  REQUIRE(batch.has_value());
  CHECK(batch->crc_matches());
  CHECK(batch->size() == bytes.size());
  CHECK(batch->base_offset() == 10);
  CHECK(batch->last_offset() == 12);
  CHECK(batch->max_timestamp() == 1010);
  CHECK(batch->last_sequence() == 10);
  RecordIterator records(batch->body(), batch->count());
  CHECK(records.next()->value().timestamp_delta == 0);
  const auto second = records.next()->value();
  CHECK(second.timestamp_delta == -10);
  CHECK_FALSE(second.key.has_value());
  CHECK(second.headers.size() == 5);
  CHECK_FALSE(records.next()->value().value.has_value());
  CHECK_FALSE(records.next()->has_value());
}

TEST_CASE("offset and epoch lie outside the checksum, timestamps inside") {
  Bytes bytes = three_records();
  patch_offset_and_epoch(bytes.mutable_data(), 500, 9);
  CHECK(BatchView::parse(bytes.span())->crc_matches());
  const uint32_t before = BatchView::parse(bytes.span())->crc();
  patch_timestamp(bytes.mutable_data(), bytes.size(), TimestampType::kLogAppendTime, 77);
  const auto batch = *BatchView::parse(bytes.span());
  CHECK(batch.crc_matches());
  CHECK(batch.crc() != before);
  CHECK(batch.max_timestamp() == 77);
}

TEST_CASE("a batch that is cut off anywhere is refused") {
  const Bytes bytes = three_records();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(BatchView::parse(bytes.span().first(size)).has_value());
  }
}

TEST_CASE("sequences wrap to zero") {
  BatchBuilder builder({.producer_id = 1, .producer_epoch = 0, .base_sequence = INT32_MAX});
  builder.add(0, std::nullopt, std::nullopt);
  builder.add(0, std::nullopt, std::nullopt);
  const Bytes bytes = builder.build();
  CHECK(BatchView::parse(bytes.span())->last_sequence() == 0);
}
