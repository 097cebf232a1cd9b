#include "protocol/records/batch.h"

#include "protocol/base/crc32c.h"
#include "protocol/base/varint.h"

namespace klamm::protocol {
namespace {

constexpr size_t kCrcStart = 21;

// A nullable byte string: varint length (-1 null), then the bytes. Null when malformed.
const uint8_t* get_field(const uint8_t* at, const uint8_t* end,
                         std::optional<std::span<const uint8_t>>& field) {
  int32_t length = 0;
  at = get_varint(at, end, length);
  if (at == nullptr || length < -1 || length > end - at) {
    return nullptr;
  }
  if (length < 0) {
    field.reset();
    return at;
  }
  field = std::span(at, static_cast<size_t>(length));
  return at + length;
}

// Walks over the headers of a record; null when one is malformed.
const uint8_t* skip_headers(const uint8_t* at, const uint8_t* end) {
  int32_t count = 0;
  at = get_varint(at, end, count);
  if (at == nullptr || count < 0) {
    return nullptr;
  }
  std::optional<std::span<const uint8_t>> field;
  for (int32_t i = 0; i < count && at != nullptr; ++i) {
    at = get_field(at, end, field);
    if (at == nullptr || !field) {
      return nullptr;  // a header's key is never null
    }
    at = get_field(at, end, field);
  }
  return at;
}

}  // namespace

Result<BatchView> BatchView::parse(std::span<const uint8_t> bytes) {
  if (bytes.size() < kBatchPrefixSize + 5) {
    return fail(ErrorCode::kCorruptMessage, "the batch is shorter than its header");
  }
  // Formats 0 and 1 were real once; anything else is damage.
  if (const auto magic = static_cast<int8_t>(bytes[16]); magic != kMagic) {
    return fail(magic == 0 || magic == 1 ? ErrorCode::kInvalidRecord : ErrorCode::kCorruptMessage,
                "the batch's magic is not 2");
  }
  const auto length = load<int32_t>(bytes.data() + 8);
  if (length < static_cast<int32_t>(kBatchHeaderSize - kBatchPrefixSize) ||
      static_cast<size_t>(length) > bytes.size() - kBatchPrefixSize) {
    return fail(ErrorCode::kCorruptMessage, "the batch's length does not fit its bytes");
  }
  return BatchView(bytes.data());
}

int32_t BatchView::last_sequence() const {
  const int64_t last = static_cast<int64_t>(base_sequence()) + last_offset_delta();
  return base_sequence() < 0 ? base_sequence() : static_cast<int32_t>(last & INT32_MAX);
}

bool BatchView::crc_matches() const { return crc() == crc32c(bytes().subspan(kCrcStart)); }

void patch_offset_and_epoch(uint8_t* batch, int64_t base_offset, int32_t leader_epoch) {
  store(batch, base_offset);
  store(batch + 12, leader_epoch);
}

void patch_timestamp(uint8_t* batch, size_t size, TimestampType type, int64_t max_timestamp) {
  const auto attributes = load<int16_t>(batch + 21);
  const auto wanted = static_cast<int16_t>((attributes & ~8) | static_cast<int>(type) << 3);
  if (attributes == wanted && load<int64_t>(batch + 35) == max_timestamp) {
    return;
  }
  store(batch + 21, wanted);
  store(batch + 35, max_timestamp);
  store(batch + 17, crc32c({batch + kCrcStart, size - kCrcStart}));
}

Result<std::optional<RecordView>> RecordIterator::next() {
  if (left_ <= 0) {
    if (at_ != end_) {
      return fail(ErrorCode::kInvalidRecord, "the batch has bytes behind its last record");
    }
    return std::nullopt;
  }
  --left_;
  int32_t length = 0;
  const uint8_t* at = get_varint(at_, end_, length);
  if (at == nullptr || length < 1 || length > end_ - at) {
    return fail(ErrorCode::kInvalidRecord, "a record's length does not fit its batch");
  }
  const uint8_t* record_end = at + length;
  ++at;  // attributes, unused
  RecordView record;
  at = get_varlong(at, record_end, record.timestamp_delta);
  at = at == nullptr ? at : get_varint(at, record_end, record.offset_delta);
  at = at == nullptr ? at : get_field(at, record_end, record.key);
  at = at == nullptr ? at : get_field(at, record_end, record.value);
  const uint8_t* headers = at;
  at = at == nullptr ? at : skip_headers(at, record_end);
  if (at != record_end) {
    return fail(ErrorCode::kInvalidRecord, "a record's fields do not fill its length");
  }
  record.headers = {headers, record_end};
  at_ = record_end;
  return record;
}

}  // namespace klamm::protocol
