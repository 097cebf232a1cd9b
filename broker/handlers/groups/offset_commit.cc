// OffsetCommit (key 8), v2-10.   v2-4: retention time.   v6: leader epochs.   v7: static members.
// v9: member epochs. v10: topic ids.   Answered when the offsets are committed.
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/offsets_to_commit.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithMemberEpochs = 9;
constexpr int16_t kVersionWithTopicIds = 10;

}  // namespace

void handle(RequestContext& context, OffsetCommitRequest&& request,
            Reply<OffsetCommitResponse> reply) {
  const int64_t retention = request.retention_time_ms;
  const int64_t expire_ms = retention < 0 ? -1 : context.broker.clock().wall_ms() + retention;
  OffsetCommitResponse response;
  CommitRequest commit{request.group_id,
                       request.member_id,
                       request.group_instance_id,
                       request.generation_id_or_member_epoch,
                       take_offsets(context.broker, request,
                                    context.version >= kVersionWithTopicIds, expire_ms, response),
                       context.version >= kVersionWithMemberEpochs};
  auto shared = std::make_shared<std::pair<Reply<OffsetCommitResponse>, OffsetCommitResponse>>(
      std::move(reply), std::move(response));
  const auto finish = [shared](ErrorCode error) {
    note_outcome(shared->second, error);
    shared->first.send(shared->second);
  };
  context.broker.with_group(request.group_id, [commit = std::move(commit), finish](
                                                  Result<GroupShard*> shard, Broker& owner) {
    shard ? (*shard)->commit(commit, owner.groups().now_ms(), finish) : finish(shard.error().code);
  });
}

}  // namespace klamm::broker
