#include "broker/coordinator/group/records.h"

#include "broker/coordinator/record_codec.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kOffsetCommitType = 1;
constexpr int16_t kLegacyOffsetCommitType = 0;
constexpr int16_t kGroupMetadataType = 2;
// What Kafka 4.4.0 writes; an explicit expiry has a place in version 1 only.
constexpr int16_t kOffsetValueVersion = 4;
constexpr int16_t kOffsetValueVersionWithExpiry = 1;
constexpr int16_t kGroupValueVersion = 3;

}  // namespace

CoordinatorRecord offset_record(const OffsetCommitKey& key, const OffsetCommitValue& value) {
  const int16_t version =
      value.expire_timestamp >= 0 ? kOffsetValueVersionWithExpiry : kOffsetValueVersion;
  return {prefixed(kOffsetCommitType, key, 0), prefixed(version, value, version)};
}

CoordinatorRecord offset_tombstone(const OffsetCommitKey& key) {
  return {prefixed(kOffsetCommitType, key, 0), std::nullopt};
}

CoordinatorRecord group_record(const std::string& group_id, const GroupMetadataValue& value) {
  return {group_tombstone(group_id).key, prefixed(kGroupValueVersion, value, kGroupValueVersion)};
}

CoordinatorRecord group_tombstone(const std::string& group_id) {
  GroupMetadataKey key;
  key.group = group_id;
  return {prefixed(kGroupMetadataType, key, 0), std::nullopt};
}

ParsedRecord parse_group_record(const CoordinatorRecord& record) {
  Reader in(record.key);
  const auto type = in.fixed<int16_t>();
  if (type == kOffsetCommitType || type == kLegacyOffsetCommitType) {
    auto key = read_message<OffsetCommitKey>(in, 0);
    ParsedOffset parsed;
    if (!key || !read_value(record, parsed.value)) {
      return {};
    }
    parsed.key = std::move(*key);
    return parsed;
  }
  if (type == kGroupMetadataType) {
    auto key = read_message<GroupMetadataKey>(in, 0);
    ParsedGroup parsed;
    if (!key || !read_value(record, parsed.value)) {
      return {};
    }
    parsed.group_id = key->group;
    return parsed;
  }
  return {};
}

}  // namespace klamm::broker
