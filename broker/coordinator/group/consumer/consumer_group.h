#pragma once
// One consumer group in memory: its state and how long its members may be silent. The times are
// not kept: after loading everybody has a full session.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/coordinator/group/consumer/consumer_change.h"
#include "broker/coordinator/group/consumer/consumer_state.h"
#include "broker/coordinator/group/group.h"
#include "protocol/generated/consumer_group_describe_response.h"

namespace klamm::broker {

class ConsumerGroup : public Group {
 public:
  explicit ConsumerGroup(std::string id) : state_(std::move(id)) {}

  const ConsumerState& state() const { return state_; }
  ConsumerDraft draft() const { return {state_, {}}; }
  void apply(const CoordinatorRecord& record);

  GroupType type() const override { return GroupType::kConsumer; }
  std::string_view state_name() const override;
  std::string protocol_type() const override { return "consumer"; }
  bool is_empty() const override { return state_.members().empty(); }
  bool is_subscribed(const std::string& topic) const override;
  void add_tombstones(std::vector<CoordinatorRecord>& records) const override;
  std::optional<int64_t> next_deadline() const override;

  // A member has given a sign of life; when it has to give partitions back, it has as long as its
  // rebalance timeout for it.
  void touch(const std::string& member_id, int32_t session_timeout_ms, int64_t now_ms);
  // A member of the classic protocol has to join again; a deadline that is set already stays.
  void await_join(const std::string& member_id, int64_t now_ms);
  // It has joined and has to collect its assignment.
  void await_sync(const std::string& member_id, int64_t now_ms);
  void synced(const std::string& member_id) { times_[member_id].sync.reset(); }
  // For members that have none yet.
  void start_sessions(const ConsumerSettings& settings, int64_t now_ms);
  // The members whose time is over.
  std::set<std::string> overdue(int64_t now_ms) const;
  // They cannot be taken out now, but later.
  void postpone(const std::set<std::string>& member_ids, int64_t until_ms);

  // Whether metadata of that offset is news to the group; asked once for each.
  bool notices(int64_t topics_offset) {
    return std::exchange(noticed_offset_, topics_offset) != topics_offset;
  }
  protocol::ConsumerGroupDescribeResponse::DescribedGroup describe(
      const ConsumerSettings& settings, const replication::MetadataImage& image) const;

 private:
  struct Times {
    std::optional<int64_t> session;
    std::optional<int64_t> revocation;  // of what it owned in `revocation_epoch`
    int32_t revocation_epoch = 0;
    std::optional<int64_t> join;
    std::optional<int64_t> sync;
    // The first of them.
    std::optional<int64_t> first() const;
  };

  ConsumerState state_;
  std::map<std::string, Times> times_;
  int64_t noticed_offset_ = -1;
};

// A classic member says itself how long it may be silent.
int32_t session_timeout_of(const ConsumerMember& member, const ConsumerSettings& settings);

}  // namespace klamm::broker
