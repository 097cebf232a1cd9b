#pragma once
// The settings of one partition's log, resolved from topic and broker configuration. Names are
// Kafka's topic keys.
#include <cstdint>
#include <optional>

#include "protocol/records/batch.h"

namespace klamm::storage {

struct LogConfig {
  int64_t segment_bytes = 1 << 30;
  int64_t segment_ms = 604'800'000;
  int64_t segment_index_bytes = 10 << 20;
  int64_t index_interval_bytes = 4096;
  int64_t retention_ms = 604'800'000;  // -1: no limit
  int64_t retention_bytes = -1;        // -1: no limit
  int64_t file_delete_delay_ms = 60'000;
  int64_t flush_messages = INT64_MAX;
  int64_t flush_ms = INT64_MAX;
  int64_t max_message_bytes = 1'048'588;
  int64_t max_decompressed_message_bytes = 2'147'483'639;
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = 3'600'000;
  bool preallocate = false;
  int32_t min_insync_replicas = 1;
  // Of compaction.
  double min_cleanable_dirty_ratio = 0.5;
  int64_t min_compaction_lag_ms = 0;
  int64_t max_compaction_lag_ms = INT64_MAX;
  int64_t delete_retention_ms = 86'400'000;
  bool cleanup_delete = true;
  bool cleanup_compact = false;
  protocol::TimestampType timestamp_type = protocol::TimestampType::kCreateTime;
  // nullopt: `producer`, batches keep the codec that they came with.
  std::optional<protocol::Compression> compression;
  int compression_level = INT32_MIN;
};

}  // namespace klamm::storage
