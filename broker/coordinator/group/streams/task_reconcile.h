#pragma once
// A member's next step from what it runs to what it shall run (KIP-1071): first it gives back, then
// it takes what is free. An active task is free when nobody runs it and nobody of the same process
// has its state open; a standby, when nobody of the same process has.
#include <optional>

#include "broker/coordinator/group/streams/streams_state.h"
#include "protocol/base/result.h"

namespace klamm::broker {

struct TaskReconcileInput {
  const StreamsState& group;
  const TaskSets& target;
  int32_t target_epoch = 0;
  std::optional<TaskSets> reported;  // what the member says it runs
};

// The member as it is then; the same when it has to wait. FENCED_MEMBER_EPOCH.
Result<StreamsMember> reconcile(const TaskReconcileInput& input, const StreamsMember& member);

}  // namespace klamm::broker
