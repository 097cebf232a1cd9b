#pragma once
// The groups of one partition of __consumer_offsets, of every protocol, and everybody's committed
// offsets. What a request of one protocol means to a group of another is decided here.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/classic/classic_group.h"
#include "broker/coordinator/group/consumer/consumer_group.h"
#include "broker/coordinator/group/consumer/migration.h"
#include "broker/coordinator/group/offset_store.h"
#include "broker/coordinator/group/share/share_group.h"
#include "broker/coordinator/group/streams/streams_group.h"
#include "broker/coordinator/runtime.h"
#include "protocol/generated/consumer_group_heartbeat_request.h"
#include "protocol/generated/consumer_group_heartbeat_response.h"
#include "protocol/generated/describe_groups_response.h"
#include "protocol/generated/list_groups_response.h"
#include "protocol/generated/offset_delete_request.h"
#include "protocol/generated/offset_delete_response.h"
#include "protocol/generated/share_group_describe_response.h"
#include "protocol/generated/share_group_heartbeat_request.h"
#include "protocol/generated/share_group_heartbeat_response.h"
#include "protocol/generated/streams_group_describe_response.h"
#include "protocol/generated/streams_group_heartbeat_request.h"
#include "protocol/generated/streams_group_heartbeat_response.h"

namespace klamm::broker {

struct GroupShardConfig {
  ClassicConfig classic;
  ConsumerSettings consumer;  // of groups that have none of their own
  ShareGroupSettings share;
  StreamsSettings streams;
  MigrationPolicy migration;
  int64_t offsets_retention_ms = 7 * 86'400'000LL;
  int64_t expiry_check_ms = 600'000;
};

// Where share partitions begin, by topic and partition; -1: where the group's configuration says.
using ShareStarts = std::map<std::pair<Uuid, int32_t>, int64_t>;

// What groups ask of the node around them.
struct GroupSurroundings {
  using Done = std::function<void(ErrorCode)>;
  std::function<replication::ImagePtr()> image;
  std::function<std::string()> unique_suffix;  // a string that no other member has had
  // Has the share coordinators begin, or end, to keep the group's state of partitions.
  std::function<void(const std::string& group, int32_t state_epoch, const ShareStarts&, Done)>
      initialize_shared;
  std::function<void(const std::string& group, const ShareStarts&, Done)> remove_shared;
  // Has topics made; tells why not, or an empty string.
  std::function<void(const std::vector<InternalTopic>&, std::function<void(const std::string&)>)>
      create_topics;
};

// Who sent a request.
struct ClientInfo {
  std::string client_id;
  std::string client_host;
  int16_t version = 0;  // of the request
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
  int32_t generation = -1;  // or member epoch
  std::vector<OffsetToCommit> offsets;
  bool knows_member_epochs = true;             // OffsetCommit v9+
  std::optional<InTransaction> transaction{};  // they count when it commits
};

class GroupShard : public CoordinatorShard, public GroupOutput {
 public:
  GroupShard(RecordSink& sink, const GroupShardConfig& config, GroupSurroundings surroundings)
      : sink_(sink), config_(config), surroundings_(std::move(surroundings)) {}

  // ---- classic protocol ----
  void join(const protocol::JoinGroupRequest& request, const JoinContext& context, int64_t now_ms,
            Respond<protocol::JoinGroupResponse> respond);
  void sync(const protocol::SyncGroupRequest& request, int64_t now_ms,
            Respond<protocol::SyncGroupResponse> respond);
  ErrorCode heartbeat(const protocol::HeartbeatRequest& request, int64_t now_ms);
  ErrorCode leave(const std::string& group_id, const std::string& member_id,
                  const std::optional<std::string>& instance_id, int64_t now_ms);
  // nullopt: no such group, or not a classic one.
  std::optional<protocol::DescribeGroupsResponse::DescribedGroup> describe(
      const std::string& group_id) const;

  // ---- consumer protocol (KIP-848) ----
  void consumer_heartbeat(const protocol::ConsumerGroupHeartbeatRequest& request,
                          const ClientInfo& client, int64_t now_ms,
                          Respond<protocol::ConsumerGroupHeartbeatResponse> respond);
  // GROUP_ID_NOT_FOUND.
  Result<protocol::ConsumerGroupDescribeResponse::DescribedGroup> describe_consumer_group(
      const std::string& group_id) const;
  // Null when there is no such consumer group.
  const ConsumerState* consumer_state(const std::string& group_id) const {
    const auto* const group = find<ConsumerGroup>(group_id);
    return group == nullptr ? nullptr : &group->state();
  }

  // ---- share groups (KIP-932) ----
  void share_heartbeat(const protocol::ShareGroupHeartbeatRequest& request,
                       const ClientInfo& client, int64_t now_ms,
                       Respond<protocol::ShareGroupHeartbeatResponse> respond);
  // GROUP_ID_NOT_FOUND.
  Result<protocol::ShareGroupDescribeResponse::DescribedGroup> describe_share_group(
      const std::string& group_id) const;
  // Null when there is no such share group.
  const ShareGroupState* share_state(const std::string& group_id) const {
    const auto* const group = find<ShareGroup>(group_id);
    return group == nullptr ? nullptr : &group->state();
  }
  // Of a group without members, or one that is made. NON_EMPTY_GROUP, or what the share coordinator
  // says. The topics exist.
  void alter_share_offsets(const std::string& group_id, const ShareStarts& starts,
                           Respond<ErrorCode> respond);
  void delete_share_offsets(const std::string& group_id, const std::set<Uuid>& topics,
                            Respond<ErrorCode> respond);

  // ---- streams groups (KIP-1071) ----
  void streams_heartbeat(const protocol::StreamsGroupHeartbeatRequest& request,
                         const ClientInfo& client, int64_t now_ms,
                         Respond<protocol::StreamsGroupHeartbeatResponse> respond);
  // GROUP_ID_NOT_FOUND.
  Result<protocol::StreamsGroupDescribeResponse::DescribedGroup> describe_streams_group(
      const std::string& group_id) const;
  // Null when there is no such streams group.
  const StreamsState* streams_state(const std::string& group_id) const {
    const auto* const group = find<StreamsGroup>(group_id);
    return group == nullptr ? nullptr : &group->state();
  }

  // ---- offsets ----
  // kNone once the offsets are committed, else the error for all of them.
  void commit(const CommitRequest& request, int64_t now_ms, Respond<ErrorCode> respond);
  const OffsetStore& offsets() const { return offsets_; }
  // May this member, if it says who it is, read the group's offsets? UNKNOWN_MEMBER_ID,
  // STALE_MEMBER_EPOCH, ILLEGAL_GENERATION.
  ErrorCode check_fetch(const std::string& group_id, const std::optional<std::string>& member_id,
                        int32_t member_epoch) const;
  // Removes a group's offsets. GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP where members may have any
  // topic; else the answer has a code for each: GROUP_SUBSCRIBED_TO_TOPIC where members read it.
  void remove_offsets(const protocol::OffsetDeleteRequest& request,
                      Respond<protocol::OffsetDeleteResponse> respond);

  // ---- all ----
  // GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
  void remove_group(const std::string& group_id, Respond<ErrorCode> respond);
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
  std::string unique_suffix() override { return surroundings_.unique_suffix(); }

 private:
  // One look at the cluster for a decision about a consumer group.
  struct ConsumerView {
    replication::ImagePtr image;
    ConsumerSettings settings;
    ConsumerContext context;
    ConsumerView(GroupShard& shard, const std::string& group_id, int64_t now_ms);
  };

  // The same for one about a share group.
  struct ShareView {
    replication::ImagePtr image;
    ShareGroupSettings settings;
    ShareContext context;
    ShareView(GroupShard& shard, const std::string& group_id, int64_t now_ms);
  };

  // And about a streams group.
  struct StreamsView {
    replication::ImagePtr image;
    StreamsSettings settings;
    int64_t topics_offset;
    StreamsContext context;
    std::optional<int64_t> delayed_until;  // the first assignment
    StreamsView(GroupShard& shard, const std::string& group_id, int64_t now_ms);
  };
  struct MovedStreamsMember {
    StreamsMember before;
    StreamsMember after;
    bool moves_endpoint(const protocol::StreamsGroupHeartbeatRequest& request) const;
  };

  // Null when there is no such group, or it is of another type.
  template <class G = Group>
  G* find(const std::string& group_id) const {
    const auto found = groups_.find(group_id);
    return found == groups_.end() ? nullptr : dynamic_cast<G*>(found->second.get());
  }
  ClassicGroup& find_or_create_classic(const std::string& group_id);
  template <class G>
  void replay_to(const std::string& group_id, const CoordinatorRecord& record, bool ends_group);
  void reschedule(const std::string& group_id);
  void unschedule(const std::string& group_id);
  // `done` with kNone at once when there is nothing to write.
  void write(std::vector<CoordinatorRecord> records, std::function<void(ErrorCode)> done);
  void tick_group(const std::string& group_id, int64_t now_ms);
  std::vector<CoordinatorRecord> tombstones(const Group& group) const;

  ConsumerSettings consumer_settings(const std::string& group_id,
                                     const replication::MetadataImage& image) const;
  Result<ConsumerDraft> open_consumer_group(const std::string& group_id, bool create,
                                            const ConsumerContext& context);
  Result<protocol::ConsumerGroupHeartbeatResponse> decide(
      ConsumerDraft& draft, const ConsumerContext& context,
      const protocol::ConsumerGroupHeartbeatRequest& request, const ClientInfo& client);
  void consumer_leave(const protocol::ConsumerGroupHeartbeatRequest& request, int64_t now_ms,
                      Respond<protocol::ConsumerGroupHeartbeatResponse> respond);
  // Takes members out of a consumer group, which may make it classic.
  void fence(const std::string& group_id, const std::set<std::string>& member_ids, int64_t now_ms,
             std::function<void(ErrorCode)> done);
  void became_classic(const std::string& group_id, bool rebalance, int64_t now_ms);

  // Members of the classic protocol in a consumer group.
  Result<protocol::JoinGroupResponse> join_as_classic(ConsumerDraft& draft,
                                                      const ConsumerContext& context,
                                                      const protocol::JoinGroupRequest& request,
                                                      const JoinContext& client,
                                                      const std::string& member_id);
  void join_consumer_group(const protocol::JoinGroupRequest& request, const JoinContext& client,
                           int64_t now_ms, Respond<protocol::JoinGroupResponse> respond);
  Result<protocol::SyncGroupResponse> sync_with_consumer_group(
      ConsumerGroup& group, const protocol::SyncGroupRequest& request, int64_t now_ms);
  ErrorCode heartbeat_to_consumer_group(ConsumerGroup& group,
                                        const protocol::HeartbeatRequest& request, int64_t now_ms);
  ErrorCode leave_consumer_group(ConsumerGroup& group, const std::string& member_id,
                                 const std::optional<std::string>& instance_id, int64_t now_ms);
  ErrorCode check_commit(const CommitRequest& request, int64_t now_ms);

  ShareGroupSettings share_settings(const std::string& group_id,
                                    const replication::MetadataImage& image) const;
  // A heartbeat that makes the share coordinator begin with partitions is taken twice.
  struct ShareTurn {
    bool may_initialize = true;
    bool tells_assignment = false;  // for the first turn has changed it
  };
  void take_share_member(const protocol::ShareGroupHeartbeatRequest& request,
                         const ClientInfo& client, ShareTurn turn, int64_t now_ms,
                         Respond<protocol::ShareGroupHeartbeatResponse> respond);
  void initialize_shared(const std::string& group_id, int32_t state_epoch,
                         const std::map<Uuid, NamedPartitions>& fresh,
                         const std::function<void(ErrorCode)>& done);
  void share_leave(const protocol::ShareGroupHeartbeatRequest& request, int64_t now_ms,
                   Respond<protocol::ShareGroupHeartbeatResponse> respond);
  void fence_share_members(const std::string& group_id, const std::set<std::string>& member_ids,
                           int64_t now_ms, std::function<void(ErrorCode)> done);
  void remove_share_group(const ShareGroup& group, Respond<ErrorCode> respond);

  StreamsSettings streams_settings(const std::string& group_id,
                                   const replication::MetadataImage& image) const;
  Result<StreamsDraft> open_streams_group(const std::string& group_id, bool create);
  static Result<MovedStreamsMember> take_streams_member(
      StreamsChange& change, const protocol::StreamsGroupHeartbeatRequest& request,
      const ClientInfo& client);
  protocol::StreamsGroupHeartbeatResponse streams_response(
      const StreamsState& state, const StreamsView& view, const StreamsChange& change,
      const protocol::StreamsGroupHeartbeatRequest& request, const MovedStreamsMember& moved) const;
  static void add_statuses(const StreamsGroup* group, const StreamsView& view,
                           const StreamsChange& change, const StreamsMember& member,
                           protocol::StreamsGroupHeartbeatResponse& response);
  void create_missing(StreamsGroup& group);
  void assign_streams_group(StreamsGroup& group, int64_t now_ms);
  void streams_leave(const protocol::StreamsGroupHeartbeatRequest& request, int64_t now_ms,
                     Respond<protocol::StreamsGroupHeartbeatResponse> respond);
  void fence_streams_members(const std::string& group_id, const std::set<std::string>& member_ids,
                             int64_t now_ms, std::function<void(ErrorCode)> done);

  // The offset of the image in which topics last changed.
  int64_t note_topics(const replication::MetadataImage& image);

  RecordSink& sink_;
  const GroupShardConfig& config_;
  GroupSurroundings surroundings_;
  std::map<std::string, std::unique_ptr<Group>> groups_;
  OffsetStore offsets_;
  MetadataHash hashes_;
  std::shared_ptr<const replication::TopicsImage> topics_;  // as last seen
  int64_t topics_offset_ = -1;                              // of the image that had them first
  std::set<std::pair<int64_t, std::string>> deadlines_;
  std::map<std::string, int64_t> deadline_of_;
  int64_t next_expiry_check_ms_ = INT64_MAX;
  // Share groups for which the share coordinator is being asked to begin.
  std::set<std::string> initializing_;
  // What waits for others must not outlive the shard.
  std::shared_ptr<void> alive_ = std::make_shared<char>();
};

}  // namespace klamm::broker
