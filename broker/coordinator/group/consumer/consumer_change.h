#pragma once
// One change of a consumer group on its way to records: a member comes or says something new, the
// group's epoch rises with what it reads, a target is computed, a member takes a step towards it
// (KIP-848). Both protocols that a member may speak go this way.
#include "broker/coordinator/group/assignment/metadata_hash.h"
#include "broker/coordinator/group/consumer/consumer_state.h"
#include "broker/coordinator/group/consumer/reconcile.h"
#include "broker/coordinator/group/group.h"

namespace klamm::broker {

using ConsumerDraft = Draft<ConsumerState>;

// What is configured for one group.
struct ConsumerSettings {
  int32_t session_timeout_ms = 45'000;
  std::optional<int32_t> heartbeat_interval_ms;  // nullopt: by the group's size
  int32_t assignment_interval_ms = 0;
  int64_t regex_refresh_ms = 600'000;
  size_t members_max = INT32_MAX;
  std::vector<std::string> assignors = {"uniform", "range"};  // the first is the default
};

struct ConsumerContext {
  const replication::MetadataImage& image;
  MetadataHash& hashes;
  const ConsumerSettings& settings;
  int64_t now_ms = 0;
  int64_t topics_offset = 0;      // of the image in which topics last changed
  bool metadata_changed = false;  // since the group was last looked at
};

// Who comes, or speaks.
struct ConsumerCaller {
  const std::string& member_id;
  const std::optional<std::string>& instance_id;
  int32_t epoch = kJoinEpoch;
  bool joins = false;    // a member that is not there is made
  bool classic = false;  // speaks the classic protocol, which has no member epochs
};

class ConsumerChange {
 public:
  ConsumerChange(ConsumerDraft& draft, const ConsumerContext& context)
      : draft_(draft), context_(context) {}

  // The member that speaks, as it is now; a new one is not in the group yet, a static one takes the
  // place of its former life. GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH,
  // FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID.
  Result<ConsumerMember> find_member(const ConsumerCaller& caller,
                                     const ReportedPartitions& reported);
  // Takes over what the member says of itself, raises the group's epoch if that or the topics make
  // it necessary. True when it subscribes to something else. INVALID_REGULAR_EXPRESSION.
  Result<bool> update(const ConsumerMember& before, const ConsumerMember& after);
  // Computes the target of the newest epoch, unless the last one is too recent.
  void assign();
  // The member's next step towards its target.
  Result<ConsumerMember> step(const ConsumerMember& member, bool subscription_changed,
                              const ReportedPartitions& reported);
  // Takes members out.
  void remove(const std::set<std::string>& member_ids);

 private:
  Result<> check_epoch(const ConsumerMember& member, const ConsumerCaller& caller,
                       const ReportedPartitions& reported) const;
  void replace(const ConsumerMember& before, const ConsumerMember& after);
  Result<bool> follow_regexes(const std::string& before, const std::string& after);
  void forget_regexes();
  void raise_epoch(bool is_needed);

  ConsumerDraft& draft_;
  const ConsumerContext& context_;
};

// How often members are told to speak. They learn of a rebalance only then, so it is often unless
// there are many, or it is configured.
int32_t heartbeat_interval_ms(const ConsumerSettings& settings, size_t members);
// The assignor that most members ask for.
std::string preferred_assignor(const ConsumerState& state, const ConsumerSettings& settings);

}  // namespace klamm::broker
