#pragma once
// What a leader checks in a batch that a client sent, before it is given offsets.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/records/batch.h"

namespace klamm::protocol {

struct ValidationRules {
  int64_t now_ms = 0;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  int64_t timestamp_before_max_ms = INT64_MAX;  // message.timestamp.before.max.ms
  int64_t timestamp_after_max_ms = 3'600'000;   // message.timestamp.after.max.ms
  bool key_required = false;                    // the topic is compacted
  uint64_t decompressed_max = INT32_MAX;        // max.decompressed.message.bytes
  // compression.type of the topic; nullopt for `producer`, which keeps the batch as it came.
  std::optional<Compression> compression;
  int compression_level = INT32_MIN;
};

// Why a batch was refused, and which of its records (by index) were at fault.
struct Refusal {
  ErrorCode code = ErrorCode::kInvalidRecord;
  std::string why;
  std::vector<std::pair<int32_t, std::string>> records;
};

// Checks a client's batch down to its records and returns the bytes to append: the same slice, with
// timestamp type and largest timestamp set in place, or a recompressed copy when the topic demands
// another codec. `batch` holds exactly one batch. Errors as Kafka: CORRUPT_MESSAGE (CRC,
// truncated), INVALID_RECORD (structure, control batch, missing key), INVALID_TIMESTAMP,
// RECORD_LIST_TOO_LARGE.
std::expected<Bytes, Refusal> validate_produced(Bytes batch, const ValidationRules& rules);

}  // namespace klamm::protocol
