#pragma once
// The records of __consumer_offsets that consumer groups use, types 3-8 and 16.
#include "broker/coordinator/group/consumer/consumer_state.h"

namespace klamm::broker {

enum class ConsumerRecord : int16_t {
  kGroup = 3,
  kPartitionMetadata = 4,  // of Kafka before 4.1; only its tombstone is written
  kMember = 5,
  kTargetEpoch = 6,
  kTarget = 7,
  kCurrent = 8,
  kRegex = 16
};

CoordinatorRecord consumer_group_record(const std::string& group, int32_t epoch, int64_t hash);
CoordinatorRecord consumer_member_record(const std::string& group, const ConsumerMember& member);
CoordinatorRecord consumer_target_epoch_record(const std::string& group, int32_t epoch,
                                               int64_t assigned_at_ms);
CoordinatorRecord consumer_target_record(const std::string& group, const std::string& member,
                                         const Assignment& target);
CoordinatorRecord consumer_current_record(const std::string& group, const ConsumerMember& member);
CoordinatorRecord consumer_regex_record(const std::string& group, const std::string& regex,
                                        const ResolvedRegex& resolved);
// `name` is that of the member or the regular expression, where the type has one.
CoordinatorRecord consumer_tombstone(ConsumerRecord type, const std::string& group,
                                     const std::string& name = {});
// All of a member.
void add_member_tombstones(const std::string& group, const std::string& member,
                           std::vector<CoordinatorRecord>& records);
// All of a group.
std::vector<CoordinatorRecord> consumer_group_tombstones(const ConsumerState& state);

}  // namespace klamm::broker
