#pragma once
// The two sparse indexes of a segment. Both map to the form on disk byte for byte (FORMAT.md); in
// memory an index is its entries. The active segment's entries live in memory and are written when
// the segment is sealed or closed; after a crash they are rebuilt from the log.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/result.h"
#include "storage/env/disk.h"

namespace klamm::storage {

// Offset (relative to the segment's base) -> file position. The offset is the last one of the batch
// at the position.
struct OffsetEntry {
  int32_t relative_offset;
  int32_t position;
  bool operator==(const OffsetEntry&) const = default;
};
inline constexpr int64_t kOffsetEntrySize = 8;

// Largest timestamp so far -> offset (relative) of the batch that brought it.
struct TimeEntry {
  int64_t timestamp;
  int32_t relative_offset;
  bool operator==(const TimeEntry&) const = default;
};
inline constexpr int64_t kTimeEntrySize = 12;

using OffsetIndex = std::vector<OffsetEntry>;
using TimeIndex = std::vector<TimeEntry>;

// The last entry not above `relative_offset`, from whose position a scan for it starts; null for
// none.
const OffsetEntry* floor_entry(const OffsetIndex& index, int64_t relative_offset);
// The relative offset from which a scan for the first timestamp >= `timestamp` starts, or 0.
int32_t floor_offset(const TimeIndex& index, int64_t timestamp);

// Loading fails with CORRUPT_MESSAGE when entries do not rise, lie beyond the log or do not fill
// the file; trailing zero entries (a preallocated index that was not trimmed) are dropped.
Result<OffsetIndex> load_offset_index(Disk& disk, const std::string& path, uint64_t log_size);
Result<TimeIndex> load_time_index(Disk& disk, const std::string& path);
Result<> store_offset_index(Disk& disk, const std::string& path, const OffsetIndex& index);
Result<> store_time_index(Disk& disk, const std::string& path, const TimeIndex& index);

}  // namespace klamm::storage
