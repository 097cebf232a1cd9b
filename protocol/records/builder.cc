#include "protocol/records/builder.h"

#include "protocol/base/crc32c.h"
#include "protocol/records/compression.h"

namespace klamm::protocol {
namespace {

void put_field(Writer& out, const std::optional<std::span<const uint8_t>>& field) {
  if (!field) {
    return out.varint(-1);
  }
  out.varint(static_cast<int64_t>(field->size()));
  out.raw(*field);
}

}  // namespace

void BatchBuilder::add(int64_t timestamp, std::optional<std::span<const uint8_t>> key,
                       std::optional<std::span<const uint8_t>> value,
                       std::span<const Header> headers) {
  if (count_ == 0) {
    base_timestamp_ = timestamp;
  }
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  Writer record;
  record.fixed<int8_t>(0);
  record.varint(timestamp - base_timestamp_);
  record.varint(count_++);
  put_field(record, key);
  put_field(record, value);
  record.varint(static_cast<int64_t>(headers.size()));
  for (const Header& header : headers) {
    record.varint(static_cast<int64_t>(header.key.size()));
    record.raw({reinterpret_cast<const uint8_t*>(header.key.data()), header.key.size()});
    put_field(record, header.value);
  }
  records_.varint(static_cast<int64_t>(record.size()));
  records_.raw(record.head());
}

Bytes BatchBuilder::build() {
  if (options_.compression == Compression::kNone) {
    return assemble_batch(options_, count_ - 1, count_, base_timestamp_, max_timestamp_,
                          records_.head());
  }
  const Bytes body = compress(options_.compression, records_.head(), options_.compression_level);
  return assemble_batch(options_, count_ - 1, count_, base_timestamp_, max_timestamp_, body.span());
}

Bytes rebuild_batch(const BatchView& batch, std::span<const RecordView> kept,
                    std::optional<int64_t> delete_horizon_ms) {
  const int64_t base_timestamp = delete_horizon_ms.value_or(batch.base_timestamp());
  int64_t max_timestamp = kNoTimestamp;
  Writer records;
  for (const RecordView& record : kept) {
    const int64_t timestamp = batch.base_timestamp() + record.timestamp_delta;
    max_timestamp = std::max(max_timestamp, timestamp);
    Writer body;
    body.fixed<int8_t>(0);
    body.varint(timestamp - base_timestamp);
    body.varint(record.offset_delta);
    put_field(body, record.key);
    put_field(body, record.value);
    body.raw(record.headers);
    records.varint(static_cast<int64_t>(body.size()));
    records.raw(body.head());
  }
  if (kept.empty() || batch.timestamp_type() == TimestampType::kLogAppendTime) {
    max_timestamp = batch.max_timestamp();
  }
  const BatchOptions options{
      .base_offset = batch.base_offset(),
      .leader_epoch = batch.leader_epoch(),
      .compression = kept.empty() ? Compression::kNone : batch.compression(),
      .timestamp_type = batch.timestamp_type(),
      .producer_id = batch.producer_id(),
      .producer_epoch = batch.producer_epoch(),
      .base_sequence = batch.base_sequence(),
      .transactional = batch.is_transactional(),
      .control = batch.is_control(),
      .delete_horizon = delete_horizon_ms.has_value() || batch.has_delete_horizon()};
  const Bytes plain = records.flatten();
  const Bytes body = options.compression == Compression::kNone
                         ? plain
                         : compress(options.compression, plain.span(), INT32_MIN);
  return assemble_batch(options, batch.last_offset_delta(), static_cast<int32_t>(kept.size()),
                        base_timestamp, max_timestamp, body.span());
}

Bytes assemble_batch(const BatchOptions& options, int32_t last_offset_delta, int32_t count,
                     int64_t base_timestamp, int64_t max_timestamp, std::span<const uint8_t> body) {
  Bytes batch = Bytes::allocate(kBatchHeaderSize + body.size());
  uint8_t* at = batch.mutable_data();
  store<int64_t>(at, options.base_offset);
  store(at + 8, static_cast<int32_t>(batch.size() - kBatchPrefixSize));
  store<int32_t>(at + 12, options.leader_epoch);
  at[16] = kMagic;
  const int attributes = static_cast<int>(options.compression) |
                         static_cast<int>(options.timestamp_type) << 3 |
                         (options.transactional ? 0x10 : 0) | (options.control ? 0x20 : 0) |
                         (options.delete_horizon ? 0x40 : 0);
  store(at + 21, static_cast<int16_t>(attributes));
  store<int32_t>(at + 23, last_offset_delta);
  store<int64_t>(at + 27, base_timestamp);
  store<int64_t>(at + 35, max_timestamp);
  store<int64_t>(at + 43, options.producer_id);
  store<int16_t>(at + 51, options.producer_epoch);
  store<int32_t>(at + 53, options.base_sequence);
  store<int32_t>(at + 57, count);
  std::copy(body.begin(), body.end(), at + kBatchHeaderSize);
  store(at + 17, crc32c(batch.span().subspan(21)));
  return batch;
}

}  // namespace klamm::protocol
