#pragma once
// Groups that change protocols while their members work (KIP-848): a classic group becomes a
// consumer group when the first member that speaks the new protocol joins, and turns back when the
// last of those leaves.
#include "broker/coordinator/group/classic/classic_group.h"
#include "broker/coordinator/group/consumer/consumer_change.h"

namespace klamm::broker {

struct MigrationPolicy {
  bool upgrade = true;
  bool downgrade = true;
  bool any() const { return upgrade || downgrade; }
};

// The consumer group that a classic one turns into, with the records that make it one.
// GROUP_ID_NOT_FOUND when it cannot: its members are no consumers, are too many, or have an
// assignor whose data would be lost.
Result<ConsumerDraft> upgraded(const ClassicGroup& group, const MigrationPolicy& policy,
                               const ConsumerContext& context);

// Whether the group turns classic once those are out.
bool turns_classic(const ConsumerState& group, const std::set<std::string>& leaving,
                   const MigrationPolicy& policy, size_t classic_members_max);
// The records that make it classic; `leaving` members are not in it any more.
std::vector<CoordinatorRecord> downgraded(const ConsumerState& group,
                                          const std::set<std::string>& leaving,
                                          const replication::MetadataImage& image, int64_t now_ms);

}  // namespace klamm::broker
