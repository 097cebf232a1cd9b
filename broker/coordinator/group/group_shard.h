#pragma once
// The groups of one partition of __consumer_offsets: classic groups and everybody's committed
// offsets.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/classic_group.h"
#include "broker/coordinator/group/offset_store.h"
#include "broker/coordinator/runtime.h"
#include "protocol/generated/describe_groups_response.h"
#include "protocol/generated/list_groups_response.h"
#include "protocol/generated/offset_delete_request.h"
#include "protocol/generated/offset_delete_response.h"

namespace klamm::broker {

struct GroupShardConfig {
  ClassicConfig classic;
  int64_t offsets_retention_ms = 7 * 86'400'000LL;
  int64_t expiry_check_ms = 600'000;
};

// One offset to be committed.
struct OffsetToCommit {
  std::string topic;
  int32_t partition = 0;
  protocol::OffsetCommitValue value;
};

struct CommitRequest {
  std::string group_id;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  std::vector<OffsetToCommit> offsets;
};

class GroupShard : public CoordinatorShard, public GroupOutput {
 public:
  GroupShard(RecordSink& sink, const GroupShardConfig& config,
             std::function<std::string()> unique_suffix)
      : sink_(sink), config_(config), unique_suffix_(std::move(unique_suffix)) {}

  void join(const protocol::JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
            Respond<protocol::JoinGroupResponse> respond);
  void sync(const protocol::SyncGroupRequest& request, int64_t now_ms,
            Respond<protocol::SyncGroupResponse> respond);
  ErrorCode heartbeat(const protocol::HeartbeatRequest& request, int64_t now_ms);
  ErrorCode leave(const std::string& group_id, const std::string& member_id,
                  const std::optional<std::string>& instance_id, int64_t now_ms);
  // kNone once the offsets are committed, else the error for all of them.
  void commit(const CommitRequest& request, int64_t now_ms, Respond<ErrorCode> respond);
  // The same for offsets that count when the producer's transaction commits.
  void commit_in_transaction(const CommitRequest& request, const InTransaction& transaction,
                             int64_t now_ms, Respond<ErrorCode> respond);
  const OffsetStore& offsets() const { return offsets_; }
  // GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
  void remove_group(const std::string& group_id, Respond<ErrorCode> respond);
  // Removes a group's offsets. GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP where members may have any
  // topic; else the answer has a code for each: GROUP_SUBSCRIBED_TO_TOPIC where members read it.
  void remove_offsets(const protocol::OffsetDeleteRequest& request,
                      Respond<protocol::OffsetDeleteResponse> respond);
  // nullopt: no such group.
  std::optional<protocol::DescribeGroupsResponse::DescribedGroup> describe(
      const std::string& group_id) const;
  void list(std::vector<protocol::ListGroupsResponse::ListedGroup>& into) const;
  // Tombstones what has expired.
  void expire(int64_t now_ms);

  void end_transaction(int64_t producer_id, bool commits) override {
    offsets_.end_transaction(producer_id, commits);
  }
  void replay(const CoordinatorRecord& record, RecordPlace place, int64_t now_ms) override;
  void loaded(int64_t now_ms) override;
  void unloaded() override;
  void tick(int64_t now_ms) override;
  std::optional<int64_t> next_deadline() const override;
  void persist(const std::string& group_id, const protocol::GroupMetadataValue& value,
               std::function<void(ErrorCode)> committed) override;
  std::string unique_suffix() override { return unique_suffix_(); }

 private:
  ClassicGroup* find(const std::string& group_id);
  ErrorCode check_commit(const CommitRequest& request, bool in_transaction, int64_t now_ms);
  ClassicGroup& find_or_create(const std::string& group_id);
  void reschedule(const ClassicGroup& group);
  void unschedule(const std::string& group_id);

  RecordSink& sink_;
  const GroupShardConfig& config_;
  std::function<std::string()> unique_suffix_;
  std::map<std::string, std::unique_ptr<ClassicGroup>> groups_;
  OffsetStore offsets_;
  std::set<std::pair<int64_t, std::string>> deadlines_;
  std::map<std::string, int64_t> deadline_of_;
  int64_t next_expiry_check_ms_ = INT64_MAX;
};

}  // namespace klamm::broker
