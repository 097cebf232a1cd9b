#pragma once
// One streams group in memory (KIP-1071): its state, and what is not kept: how long its members may
// be silent, how far their tasks have come, where their state can be asked for.
#include <map>
#include <optional>
#include <set>
#include <string>

#include "broker/coordinator/group/group.h"
#include "broker/coordinator/group/streams/streams_change.h"
#include "broker/coordinator/group/streams/streams_state.h"
#include "protocol/generated/streams_group_describe_response.h"
#include "protocol/generated/streams_group_heartbeat_response.h"

namespace klamm::broker {

class StreamsGroup : public Group {
 public:
  explicit StreamsGroup(std::string id) : state_(std::move(id)) {}

  const StreamsState& state() const { return state_; }
  StreamsDraft draft() const { return {state_, {}}; }
  void apply(const CoordinatorRecord& record);

  GroupType type() const override { return GroupType::kStreams; }
  std::string_view state_name() const override;
  std::string protocol_type() const override { return "streams"; }
  bool is_empty() const override { return state_.members().empty(); }
  bool is_subscribed(const std::string& topic) const override;
  void add_tombstones(std::vector<CoordinatorRecord>& records) const override;
  std::optional<int64_t> next_deadline() const override;

  // ---- sessions ----
  // A member has given a sign of life; when it has to give tasks back, it has as long as its
  // rebalance timeout for it.
  void touch(const std::string& member_id, int32_t session_timeout_ms, int64_t now_ms);
  void start_sessions(int32_t session_timeout_ms, int64_t now_ms);
  std::set<std::string> overdue(int64_t now_ms) const;
  // They cannot be taken out now, but later.
  void postpone(const std::set<std::string>& member_ids, int64_t until_ms);

  // ---- the first assignment, which waits for more members ----
  std::optional<int64_t> delayed_until() const { return delayed_until_; }
  void delay_until(std::optional<int64_t> time_ms) { delayed_until_ = time_ms; }

  // ---- the topology beside the topics ----
  // As it was configured with the metadata of that offset; null when that was another one.
  ConfiguredPtr configured(int64_t topics_offset) const {
    return configured_at_ == topics_offset ? configured_ : nullptr;
  }
  void set_configured(ConfiguredPtr configured, int64_t topics_offset) {
    configured_ = std::move(configured);
    configured_at_ = topics_offset;
  }
  // Why internal topics could not be made, when they were tried last; empty: nothing is known.
  const std::string& creation_error() const { return creation_error_; }
  void set_creation_error(std::string why) { creation_error_ = std::move(why); }

  // ---- what members say that is not kept ----
  void take_offsets(const protocol::StreamsGroupHeartbeatRequest& request);
  // The first who asked all others to shut down.
  const std::optional<std::string>& shutdown_by() const { return shutdown_by_; }
  void shut_down(const std::string& member_id) {
    shutdown_by_ = shutdown_by_ ? shutdown_by_ : std::optional(member_id);
  }
  int32_t endpoint_epoch() const { return endpoint_epoch_; }
  void raise_endpoint_epoch() { ++endpoint_epoch_; }

  protocol::StreamsGroupDescribeResponse::DescribedGroup describe(
      const replication::MetadataImage& image) const;

 private:
  using Offsets = std::map<std::pair<std::string, int32_t>, int64_t>;
  struct MemberTimes {
    int64_t session = 0;
    std::optional<int64_t> revocation;  // of what it ran in `revocation_epoch`
    int32_t revocation_epoch = 0;
    int64_t first() const { return revocation ? std::min(session, *revocation) : session; }
  };
  struct MemberOffsets {
    Offsets current;
    Offsets end;
  };

  StreamsState state_;
  std::map<std::string, MemberTimes> times_;
  std::optional<int64_t> delayed_until_;
  ConfiguredPtr configured_;
  int64_t configured_at_ = -1;
  std::string creation_error_;
  std::map<std::string, MemberOffsets> offsets_;
  std::optional<std::string> shutdown_by_;
  int32_t endpoint_epoch_ = 0;
};

// Where the partitions of each member's tasks can be asked for, of those that say where.
std::vector<protocol::StreamsGroupHeartbeatResponse::EndpointToPartitions> endpoints_of(
    const StreamsState& group, const ConfiguredTopology& topology,
    const replication::MetadataImage& image);

}  // namespace klamm::broker
