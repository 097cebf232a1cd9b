#pragma once
// The records of __consumer_offsets that classic groups use: int16 type (in the key) or version (in
// the value), then the fields.
#include <optional>
#include <string>
#include <variant>

#include "broker/coordinator/runtime.h"
#include "protocol/generated/group_metadata_key.h"
#include "protocol/generated/group_metadata_value.h"
#include "protocol/generated/offset_commit_key.h"
#include "protocol/generated/offset_commit_value.h"

namespace klamm::broker {

CoordinatorRecord offset_record(const protocol::OffsetCommitKey& key,
                                const protocol::OffsetCommitValue& value);
CoordinatorRecord offset_tombstone(const protocol::OffsetCommitKey& key);
CoordinatorRecord group_record(const std::string& group_id,
                               const protocol::GroupMetadataValue& value);
CoordinatorRecord group_tombstone(const std::string& group_id);

// A record as read back; no value: a tombstone.
struct ParsedOffset {
  protocol::OffsetCommitKey key;
  std::optional<protocol::OffsetCommitValue> value;
};
struct ParsedGroup {
  std::string group_id;
  std::optional<protocol::GroupMetadataValue> value;
};
// monostate: a type that is none of ours, or one that is malformed.
using ParsedRecord = std::variant<std::monostate, ParsedOffset, ParsedGroup>;
ParsedRecord parse_group_record(const CoordinatorRecord& record);

}  // namespace klamm::broker
