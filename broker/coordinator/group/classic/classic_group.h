#pragma once
// One consumer group of the classic protocol (KIP-62, 345, 394, 559, 814): who is in it, the
// rebalance that agrees on a protocol and an assignment, and the sessions of its members. A state
// machine: events and the time come in, answers and records go out. Membership between two
// rebalances is volatile, as in Kafka; what a rebalance agreed on becomes a record and comes back
// through apply().
//
//   Empty --join--> PreparingRebalance --all joined--> CompletingRebalance --leader's sync-->
//   Stable any --join of a new member, leave, silence--> PreparingRebalance;   last member gone -->
//   Empty
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/group.h"
#include "broker/coordinator/group/respond.h"
#include "protocol/error_code.h"
#include "protocol/generated/group_metadata_value.h"
#include "protocol/generated/heartbeat_request.h"
#include "protocol/generated/join_group_request.h"
#include "protocol/generated/join_group_response.h"
#include "protocol/generated/leave_group_request.h"
#include "protocol/generated/leave_group_response.h"
#include "protocol/generated/sync_group_request.h"
#include "protocol/generated/sync_group_response.h"

namespace klamm::broker {

using protocol::Bytes;
using protocol::ErrorCode;

enum class GroupState { kEmpty, kPreparingRebalance, kCompletingRebalance, kStable, kDead };
std::string_view name_of(GroupState state);

struct ClassicConfig {
  int32_t session_timeout_min_ms = 6'000;
  int32_t session_timeout_max_ms = 1'800'000;
  int32_t initial_rebalance_delay_ms = 3'000;
  // Behind that delay a new group waits until no new member has come for so long.
  int32_t gather_ms = 0;
  int32_t new_member_join_timeout_ms = 300'000;
  size_t members_max = INT32_MAX;
};

struct ClassicMember {
  std::string id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = 0;
  int32_t session_timeout_ms = 0;
  std::vector<std::pair<std::string, Bytes>> protocols;
  Bytes assignment;
  bool is_new = false;  // has joined, but no rebalance has completed since
  int64_t session_deadline = 0;
  Respond<protocol::JoinGroupResponse> join;  // set: waits for the rebalance
  Respond<protocol::SyncGroupResponse> sync;  // set: waits for the leader's assignment

  const Bytes* metadata(const std::string& protocol) const;
};

// What a group asks of its surroundings.
class GroupOutput {
 public:
  virtual ~GroupOutput() = default;
  // Writes the group's record; `committed` as in RecordSink::append.
  virtual void persist(const std::string& group_id, const protocol::GroupMetadataValue& value,
                       std::function<void(ErrorCode)> committed) = 0;
  // A string that no other member has had.
  virtual std::string unique_suffix() = 0;
};

struct JoinContext {
  std::string client_id;
  std::string client_host;
  bool needs_known_member_id = false;  // JoinGroup v4+
  bool can_skip_assignment = false;    // JoinGroup v9+
};

class ClassicGroup : public Group {
 public:
  ClassicGroup(std::string id, const ClassicConfig& config, GroupOutput& output)
      : id_(std::move(id)), config_(config), output_(output) {}

  const std::string& id() const { return id_; }
  GroupState state() const { return state_; }
  int32_t generation() const { return generation_; }
  GroupType type() const override { return GroupType::kClassic; }
  std::string_view state_name() const override { return name_of(state_); }
  bool is_empty() const override { return state_ == GroupState::kEmpty; }
  std::string protocol_type() const override { return protocol_type_.value_or(""); }
  const std::string& protocol_name() const { return protocol_name_; }
  const std::map<std::string, ClassicMember>& members() const { return members_; }
  // Whether its members are consumers, whose subscriptions can be read.
  bool is_of_consumers() const { return protocol_type_ == "consumer"; }
  // Of groups of consumers; while they agree on a protocol it cannot be told.
  bool is_subscribed(const std::string& topic) const override;
  // Each member's protocols, by its preference.
  std::vector<std::vector<std::string>> protocols_of_members() const;
  // Since when the group has been in its state.
  int64_t state_since_ms() const { return state_since_ms_; }

  void join(const protocol::JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
            Respond<protocol::JoinGroupResponse> respond);
  void sync(const protocol::SyncGroupRequest& request, int64_t now_ms,
            Respond<protocol::SyncGroupResponse> respond);
  ErrorCode heartbeat(const protocol::HeartbeatRequest& request, int64_t now_ms);
  ErrorCode leave(const std::string& member_id, const std::optional<std::string>& instance_id,
                  int64_t now_ms);
  // May this member commit offsets at this generation? Counts as a sign of life, but not in a
  // transaction, where older clients do not say who they are.
  ErrorCode check_commit(const std::string& member_id,
                         const std::optional<std::string>& instance_id, int32_t generation,
                         bool in_transaction, int64_t now_ms);
  // Answers those who wait with an error.
  void answer_all(ErrorCode code);
  // Makes the members join again, if that is not under way.
  void maybe_prepare_rebalance(int64_t now_ms);
  // Those who wait are told NOT_COORDINATOR.
  void unload() override;

  void tick(int64_t now_ms);
  std::optional<int64_t> next_deadline() const override;
  void add_tombstones(std::vector<CoordinatorRecord>& records) const override;
  // Takes over the group's record.
  void apply(const protocol::GroupMetadataValue& value);
  // After loading: sessions start now.
  void start_sessions(int64_t now_ms);

 private:
  using JoinResponse = protocol::JoinGroupResponse;

  bool supports(const protocol::JoinGroupRequest& request) const;
  ErrorCode find_member(const std::string& id, const std::optional<std::string>& instance_id,
                        ClassicMember*& member);
  void add_and_rebalance(const protocol::JoinGroupRequest& request, const JoinContext& context,
                         const std::string& member_id, int64_t now_ms,
                         Respond<JoinResponse> respond);
  void replace_static(const protocol::JoinGroupRequest& request, const JoinContext& context,
                      int64_t now_ms, Respond<JoinResponse> respond);
  void rejoin(ClassicMember& member, const protocol::JoinGroupRequest& request, int64_t now_ms,
              Respond<JoinResponse> respond);
  void update_and_rebalance(ClassicMember& member, const protocol::JoinGroupRequest& request,
                            int64_t now_ms, Respond<JoinResponse> respond);
  JoinResponse joined(const ClassicMember& member, bool with_members) const;

  void move_to(GroupState state, int64_t now_ms);
  void prepare_rebalance(int64_t now_ms);
  void maybe_complete_join(int64_t now_ms);
  void complete_join(int64_t now_ms);
  void assign(const protocol::SyncGroupRequest& request, int64_t now_ms);
  void finish_sync(ErrorCode error, int32_t generation, int64_t now_ms);
  void remove(const std::string& member_id);
  void member_gone(int64_t now_ms);
  protocol::GroupMetadataValue to_record(int64_t now_ms) const;
  static void touch(ClassicMember& member, int64_t now_ms) {
    member.session_deadline = now_ms + member.session_timeout_ms;
  }

  std::string id_;
  const ClassicConfig& config_;
  GroupOutput& output_;
  GroupState state_ = GroupState::kEmpty;
  int64_t state_since_ms_ = 0;
  int32_t generation_ = 0;
  std::optional<std::string> protocol_type_;
  std::string protocol_name_;
  std::string leader_;
  std::map<std::string, ClassicMember> members_;
  std::map<std::string, std::string> static_members_;  // instance id -> member id
  std::map<std::string, int64_t> pending_;     // ids given out, not joined with yet -> deadline
  std::optional<int64_t> rebalance_deadline_;  // PreparingRebalance
  std::optional<int64_t>
      initial_delay_end_;  // PreparingRebalance that began in Empty: when its patience ends
  bool joined_since_delay_ = false;
  int64_t newest_came_ms_ = 0;            // the member that was new last, or was given its id last
  std::optional<int64_t> sync_deadline_;  // CompletingRebalance
  bool assigning_ = false;                // the leader's assignment is being written
  // What waits for a commit must not outlive the group.
  std::shared_ptr<void> alive_ = std::make_shared<char>();
};

}  // namespace klamm::broker
