#pragma once
// One share group in memory: its state and its members' sessions, which are not kept.
#include <map>
#include <optional>
#include <string>

#include "broker/coordinator/group/assignment/metadata_hash.h"
#include "broker/coordinator/group/share/share_group_state.h"
#include "protocol/base/result.h"
#include "protocol/generated/share_group_describe_response.h"
#include "protocol/generated/share_group_heartbeat_request.h"

namespace klamm::broker {

using ShareDraft = Draft<ShareGroupState>;

struct ShareGroupSettings {
  int32_t session_timeout_ms = 45'000;
  std::optional<int32_t> heartbeat_interval_ms;  // nullopt: by the group's size
  int32_t assignment_interval_ms = 0;
  size_t members_max = 200;
};

class ShareGroup : public Group {
 public:
  explicit ShareGroup(std::string id) : state_(std::move(id)) {}

  const ShareGroupState& state() const { return state_; }
  ShareDraft draft() const { return {state_, {}}; }
  void apply(const CoordinatorRecord& record);

  GroupType type() const override { return GroupType::kShare; }
  std::string_view state_name() const override { return is_empty() ? "Empty" : "Stable"; }
  std::string protocol_type() const override { return "share"; }
  bool is_empty() const override { return state_.members().empty(); }
  bool is_subscribed(const std::string& topic) const override {
    return state_.subscribed_topics().contains(topic);
  }
  void add_tombstones(std::vector<CoordinatorRecord>& records) const override;
  std::optional<int64_t> next_deadline() const override;

  void touch(const std::string& member_id, int32_t session_timeout_ms, int64_t now_ms) {
    sessions_[member_id] = now_ms + session_timeout_ms;
  }
  void start_sessions(int32_t session_timeout_ms, int64_t now_ms);
  // The members whose sessions are over.
  std::set<std::string> overdue(int64_t now_ms) const;
  // Whether metadata of that offset is news to the group; asked once for each.
  bool notices(int64_t topics_offset) {
    return std::exchange(noticed_offset_, topics_offset) != topics_offset;
  }
  protocol::ShareGroupDescribeResponse::DescribedGroup describe(
      const replication::MetadataImage& image) const;

 private:
  ShareGroupState state_;
  std::map<std::string, int64_t> sessions_;  // when they end
  int64_t noticed_offset_ = -1;
};

// One change of a share group on its way to records: a member comes or says something new, targets
// are computed of the partitions whose state is kept, the member takes its own at once.
struct ShareContext {
  const replication::MetadataImage& image;
  MetadataHash& hashes;
  const ShareGroupSettings& settings;
  int64_t now_ms = 0;
  bool metadata_changed = false;
};
// GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH. The member before and after.
Result<std::pair<ShareMember, ShareMember>> take_share_heartbeat(
    ShareDraft& draft, const ShareContext& context,
    const protocol::ShareGroupHeartbeatRequest& request, const std::string& client_id,
    const std::string& client_host);
// Takes members out.
void remove_share_members(ShareDraft& draft, const ShareContext& context,
                          const std::set<std::string>& member_ids);
// The partitions of subscribed topics that the share coordinator does not know yet.
std::map<Uuid, NamedPartitions> uninitialized(const ShareGroupState& group,
                                              const replication::MetadataImage& image);

}  // namespace klamm::broker
