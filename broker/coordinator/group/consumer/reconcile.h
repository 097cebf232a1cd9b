#pragma once
// How a member comes from what it has to what it shall have, one heartbeat at a time (KIP-848):
// first it gives back what it may not keep, then it takes what nobody else has any more.
#include "broker/coordinator/group/consumer/consumer_state.h"
#include "protocol/base/result.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

// What a member says it owns; nullopt: the same as the last time it said.
using ReportedPartitions = std::optional<Assignment>;

struct ReconcileTask {
  const ConsumerState& group;  // with the target of the member
  const replication::MetadataImage& image;
  bool subscription_changed = false;
  const ReportedPartitions& reported;
};

// The member after its next step; the same when there is none to take. FENCED_MEMBER_EPOCH when its
// state is not known here and it still owns something.
Result<ConsumerMember> reconcile(const ReconcileTask& task, const ConsumerMember& member);

}  // namespace klamm::broker
