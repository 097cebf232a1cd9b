#include "protocol/records/validate.h"

#include <array>

#include "protocol/base/varint.h"
#include "protocol/records/builder.h"
#include "protocol/records/compression.h"

namespace klamm::protocol {
namespace {

constexpr int64_t kRecordFaultsMax = 100;

// Reads the head of each record of a stream that arrives in pieces and skips the rest, so that
// checking a compressed batch needs no memory for its content.
class RecordScanner {
 public:
  RecordScanner(const BatchView& batch, const ValidationRules& rules)
      : batch_(batch), rules_(rules) {}

  Result<> feed(std::span<const uint8_t> piece) {
    while (!piece.empty()) {
      if (skip_ > 0) {
        const size_t step = std::min<uint64_t>(skip_, piece.size());
        skip_ -= step;
        piece = piece.subspan(step);
        continue;
      }
      const size_t before = held_;
      const size_t take = std::min(piece.size(), head_.size() - held_);
      std::copy_n(piece.begin(), take, head_.begin() + static_cast<ptrdiff_t>(held_));
      held_ += take;
      TRY(const size_t used, scan_head());
      piece = piece.subspan(used == 0 ? take : std::min(take, used - std::min(used, before)));
    }
    return {};
  }

  // To be called when the stream has ended.
  Result<> finish() {
    // The last record may be shorter than the longest possible head.
    if (held_ > 0 && scanned_ < batch_.count()) {
      at_end_ = true;
      TRY_VOID(scan_head());
    }
    if (skip_ > 0 || held_ > 0 || scanned_ != batch_.count()) {
      return fail(ErrorCode::kInvalidRecord, "the batch does not hold as many records as it says");
    }
    return {};
  }

  int64_t max_timestamp() const { return max_timestamp_; }
  const std::vector<std::pair<int32_t, std::string>>& faults() const { return faults_; }
  ErrorCode fault_code() const { return fault_code_; }

 private:
  // Longest head: length 5, attributes 1, timestamp 10, offset 5, key length 5.
  static constexpr size_t kHeadMax = 26;

  // Takes one record's head from the front of head_. Returns the bytes used, 0 when more are
  // needed.
  Result<size_t> scan_head() {
    const uint8_t* begin = head_.data();
    const uint8_t* end = begin + held_;
    int32_t length = 0;
    int64_t timestamp_delta = 0;
    int32_t offset_delta = 0;
    int32_t key_length = 0;
    const uint8_t* at = get_varint(begin, end, length);
    const uint8_t* body = at;
    at = at == nullptr || at >= end ? nullptr : at + 1;
    at = at == nullptr ? at : get_varlong(at, end, timestamp_delta);
    at = at == nullptr ? at : get_varint(at, end, offset_delta);
    at = at == nullptr ? at : get_varint(at, end, key_length);
    if (at == nullptr) {
      if (held_ == head_.size() || at_end_) {
        return fail(ErrorCode::kInvalidRecord, "a record is malformed");
      }
      return size_t{0};
    }
    if (length < at - body || key_length < -1 || key_length > length) {
      return fail(ErrorCode::kInvalidRecord, "a record's length does not fit its fields");
    }
    if (scanned_ >= batch_.count()) {
      return fail(ErrorCode::kInvalidRecord, "the batch does not hold as many records as it says");
    }
    judge(timestamp_delta, offset_delta, key_length);
    ++scanned_;
    const auto used = static_cast<size_t>(at - begin);
    skip_ = static_cast<uint64_t>(length) - static_cast<uint64_t>(at - body);
    held_ = 0;
    return used;
  }

  void judge(int64_t timestamp_delta, int32_t offset_delta, int32_t key_length) {
    const int64_t timestamp = batch_.base_timestamp() + timestamp_delta;
    max_timestamp_ = std::max(max_timestamp_, timestamp);
    if (offset_delta != scanned_) {
      fault(ErrorCode::kInvalidRecord, "its offset delta is not its place in the batch");
    } else if (rules_.key_required && key_length < 0) {
      fault(ErrorCode::kInvalidRecord, "a compacted topic takes no record without a key");
    } else if (rules_.timestamp_type == TimestampType::kCreateTime && timestamp != kNoTimestamp) {
      const int64_t behind = rules_.now_ms - timestamp;
      if (behind > rules_.timestamp_before_max_ms || -behind > rules_.timestamp_after_max_ms) {
        fault(ErrorCode::kInvalidTimestamp,
              "its timestamp is out of the range that the topic allows");
      }
    }
  }
  void fault(ErrorCode code, const char* why) {
    fault_code_ = code;
    if (static_cast<int64_t>(faults_.size()) < kRecordFaultsMax) {
      faults_.emplace_back(scanned_, why);
    }
  }

  const BatchView batch_;
  const ValidationRules& rules_;
  std::array<uint8_t, kHeadMax> head_{};
  size_t held_ = 0;
  uint64_t skip_ = 0;
  bool at_end_ = false;
  int32_t scanned_ = 0;
  int64_t max_timestamp_ = kNoTimestamp;
  ErrorCode fault_code_ = ErrorCode::kNone;
  std::vector<std::pair<int32_t, std::string>> faults_;
};

Result<> check_header(const BatchView& batch, size_t size) {
  if (batch.size() != size) {
    return fail(ErrorCode::kInvalidRecord, "a request holds exactly one batch for each partition");
  }
  if (!batch.crc_matches()) {
    return fail(ErrorCode::kCorruptMessage, "the batch's checksum does not match its content");
  }
  if (batch.base_offset() != 0) {
    return fail(ErrorCode::kInvalidRecord, "a produced batch starts at offset 0");
  }
  if (batch.is_control()) {
    return fail(ErrorCode::kInvalidRecord, "clients write no control batches");
  }
  if ((batch.attributes() & 7) > static_cast<int>(Compression::kZstd)) {
    return fail(ErrorCode::kUnknownServerError, "the batch names no known codec");
  }
  if (batch.count() <= 0 || batch.last_offset_delta() != batch.count() - 1) {
    return fail(ErrorCode::kInvalidRecord, "the batch's record count does not match its offsets");
  }
  if (batch.is_transactional() && !batch.has_producer_id()) {
    return fail(ErrorCode::kInvalidRecord, "a transactional batch needs a producer id");
  }
  if (batch.has_producer_id() && (batch.base_sequence() < 0 || batch.producer_epoch() < 0)) {
    return fail(ErrorCode::kInvalidRecord,
                "a batch with a producer id needs a sequence and an epoch");
  }
  return {};
}

// An uncompressed batch is at hand as a whole and is checked down to the headers.
Result<> check_structure(const BatchView& batch) {
  RecordIterator records(batch.body(), batch.count());
  while (true) {
    TRY(auto record, records.next());
    if (!record) {
      return {};
    }
  }
}

Result<> scan_content(const BatchView& batch, const ValidationRules& rules,
                      RecordScanner& scanner) {
  if (batch.compression() == Compression::kNone) {
    TRY_VOID(check_structure(batch));
  }
  TRY_VOID(decompress(batch.compression(), batch.body(), rules.decompressed_max,
                      [&](std::span<const uint8_t> piece) { return scanner.feed(piece); }));
  return scanner.finish();
}

Result<Bytes> recompress(const BatchView& batch, const ValidationRules& rules,
                         int64_t max_timestamp) {
  TRY(const Bytes plain, decompress(batch.compression(), batch.body(), rules.decompressed_max));
  const BatchOptions options{.compression = *rules.compression,
                             .timestamp_type = rules.timestamp_type,
                             .producer_id = batch.producer_id(),
                             .producer_epoch = batch.producer_epoch(),
                             .base_sequence = batch.base_sequence(),
                             .transactional = batch.is_transactional()};
  const Bytes body = *rules.compression == Compression::kNone
                         ? plain
                         : compress(*rules.compression, plain.span(), rules.compression_level);
  return assemble_batch(options, batch.last_offset_delta(), batch.count(), batch.base_timestamp(),
                        max_timestamp, body.span());
}

Refusal refuse(Error error) { return {error.code, std::move(error.why), {}}; }

}  // namespace

std::expected<Bytes, Refusal> validate_produced(Bytes bytes, const ValidationRules& rules) {
  const auto batch = BatchView::parse(bytes.span());
  if (!batch) {
    return std::unexpected(refuse(batch.error()));
  }
  if (const auto header = check_header(*batch, bytes.size()); !header) {
    return std::unexpected(refuse(header.error()));
  }
  RecordScanner scanner(*batch, rules);
  if (const auto content = scan_content(*batch, rules, scanner); !content) {
    return std::unexpected(refuse(content.error()));
  }
  if (!scanner.faults().empty()) {
    return std::unexpected(
        Refusal{scanner.fault_code(), "one or more records were refused", scanner.faults()});
  }
  const int64_t max_timestamp = rules.timestamp_type == TimestampType::kLogAppendTime
                                    ? rules.now_ms
                                    : scanner.max_timestamp();
  if (rules.compression && *rules.compression != batch->compression()) {
    auto copy = recompress(*batch, rules, max_timestamp);
    return copy ? std::expected<Bytes, Refusal>(std::move(*copy))
                : std::unexpected(refuse(copy.error()));
  }
  patch_timestamp(bytes.mutable_data(), bytes.size(), rules.timestamp_type, max_timestamp);
  return bytes;
}

}  // namespace klamm::protocol
