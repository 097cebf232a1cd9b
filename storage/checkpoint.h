#pragma once
// The small text files of a log directory (FORMAT.md): offset checkpoints, leader epochs,
// partition.metadata and Java properties. Parsers give CORRUPT_MESSAGE for anything that they would
// not write themselves.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/result.h"
#include "protocol/base/uuid.h"

namespace klamm::storage {

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
  std::string directory() const { return topic + "-" + std::to_string(partition); }
};

using OffsetCheckpoint = std::map<TopicPartition, int64_t>;
std::string format_offsets(const OffsetCheckpoint& offsets);
Result<OffsetCheckpoint> parse_offsets(std::string_view text);

// The first offset of each leader epoch that wrote to a log, oldest first.
struct EpochStart {
  int32_t epoch;
  int64_t start_offset;
  bool operator==(const EpochStart&) const = default;
};
class LeaderEpochs {
 public:
  // Records that `epoch` starts at `offset`; true when that is news. Older or equal epochs change
  // nothing.
  bool assign(int32_t epoch, int64_t offset);
  // The end offset of the largest epoch <= `epoch`: {that epoch, start of the next one or
  // `log_end`}; {-1, -1} when the epoch is unknown (KIP-101, KIP-279).
  EpochStart end_of(int32_t epoch, int64_t log_end) const;
  // The epoch that wrote `offset`; -1 when unknown.
  int32_t epoch_at(int64_t offset) const;
  int32_t latest() const { return epochs_.empty() ? -1 : epochs_.back().epoch; }
  void truncate_from_end(int64_t end_offset);
  void truncate_from_start(int64_t start_offset);
  const std::vector<EpochStart>& entries() const { return epochs_; }

  std::string to_text() const;
  static Result<LeaderEpochs> parse(std::string_view text);

 private:
  std::vector<EpochStart> epochs_;
};

std::string format_partition_metadata(const protocol::Uuid& topic_id);
Result<protocol::Uuid> parse_partition_metadata(std::string_view text);

// Java's properties format: comments, escapes, continued lines; the last of equal keys wins.
using Properties = std::map<std::string, std::string>;
Properties parse_properties(std::string_view text);

}  // namespace klamm::storage
