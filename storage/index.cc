#include "storage/index.h"

#include <algorithm>

#include "protocol/base/endian.h"

namespace klamm::storage {
namespace {

using protocol::load;
using protocol::store;

std::unexpected<Error> corrupt(const std::string& path) {
  return fail(ErrorCode::kCorruptMessage, "the index " + path + " is damaged");
}

Result<> write_whole(Disk& disk, const std::string& path, std::span<const uint8_t> content) {
  TRY(const auto file, disk.open(path, OpenMode::kCreate));
  TRY_VOID(file->truncate(content.size()));
  return content.empty() ? Result<>() : file->write_at(0, content);
}

}  // namespace

const OffsetEntry* floor_entry(const OffsetIndex& index, int64_t relative_offset) {
  const auto above = std::upper_bound(
      index.begin(), index.end(), relative_offset,
      [](int64_t offset, const OffsetEntry& entry) { return offset < entry.relative_offset; });
  return above == index.begin() ? nullptr : &*std::prev(above);
}

int32_t floor_offset(const TimeIndex& index, int64_t timestamp) {
  // The entry must be older than what is looked for: the first record with it may stand before its
  // own entry.
  const auto at_or_above =
      std::lower_bound(index.begin(), index.end(), timestamp,
                       [](const TimeEntry& entry, int64_t time) { return entry.timestamp < time; });
  return at_or_above == index.begin() ? 0 : std::prev(at_or_above)->relative_offset;
}

Result<OffsetIndex> load_offset_index(Disk& disk, const std::string& path, uint64_t log_size) {
  TRY(const std::string content, disk.read_file(path));
  if (content.size() % kOffsetEntrySize != 0) {
    return corrupt(path);
  }
  const auto* at = reinterpret_cast<const uint8_t*>(content.data());
  OffsetIndex index;
  for (size_t i = 0; i < content.size(); i += kOffsetEntrySize) {
    const OffsetEntry entry{load<int32_t>(at + i), load<int32_t>(at + i + 4)};
    if (i > 0 && entry == OffsetEntry{0, 0}) {
      break;
    }
    if (entry.relative_offset < 0 || entry.position < 0 ||
        static_cast<uint64_t>(entry.position) >= log_size ||
        (!index.empty() && (entry.relative_offset <= index.back().relative_offset ||
                            entry.position <= index.back().position))) {
      return corrupt(path);
    }
    index.push_back(entry);
  }
  return index;
}

Result<TimeIndex> load_time_index(Disk& disk, const std::string& path) {
  TRY(const std::string content, disk.read_file(path));
  if (content.size() % kTimeEntrySize != 0) {
    return corrupt(path);
  }
  const auto* at = reinterpret_cast<const uint8_t*>(content.data());
  TimeIndex index;
  for (size_t i = 0; i < content.size(); i += kTimeEntrySize) {
    const TimeEntry entry{load<int64_t>(at + i), load<int32_t>(at + i + 8)};
    if (entry == TimeEntry{0, 0}) {
      break;
    }
    if (entry.relative_offset < 0 ||
        (!index.empty() && (entry.timestamp < index.back().timestamp ||
                            entry.relative_offset < index.back().relative_offset))) {
      return corrupt(path);
    }
    index.push_back(entry);
  }
  return index;
}

Result<> store_offset_index(Disk& disk, const std::string& path, const OffsetIndex& index) {
  std::vector<uint8_t> content(index.size() * kOffsetEntrySize);
  uint8_t* at = content.data();
  for (const OffsetEntry& entry : index) {
    store(at, entry.relative_offset);
    store(at + 4, entry.position);
    at += kOffsetEntrySize;
  }
  return write_whole(disk, path, content);
}

Result<> store_time_index(Disk& disk, const std::string& path, const TimeIndex& index) {
  std::vector<uint8_t> content(index.size() * kTimeEntrySize);
  uint8_t* at = content.data();
  for (const TimeEntry& entry : index) {
    store(at, entry.timestamp);
    store(at + 8, entry.relative_offset);
    at += kTimeEntrySize;
  }
  return write_whole(disk, path, content);
}

}  // namespace klamm::storage
