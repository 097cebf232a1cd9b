// DeleteShareGroupOffsets (key 92), v0 (KIP-932).   A group without members forgets topics.
// Answered when the share coordinators and the group have it committed.
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/delete_share_group_offsets_request.h"
#include "protocol/generated/delete_share_group_offsets_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// The topics that the group has; `response` gets all, with codes where one is not there.
std::set<Uuid> take_topics(const replication::MetadataImage& image, const GroupShard& shard,
                           const DeleteShareGroupOffsetsRequest& request,
                           DeleteShareGroupOffsetsResponse& response) {
  std::set<Uuid> topics;
  const auto* const group = shard.share_state(request.group_id);
  for (const auto& asked : request.topics) {
    const auto topic = image.topic(asked.topic_name);
    auto& out = response.responses.emplace_back();
    out.topic_name = asked.topic_name;
    out.topic_id = topic == nullptr ? Uuid() : topic->id;
    if (topic != nullptr && group != nullptr && group->shared().initialized.contains(topic->id)) {
      topics.insert(topic->id);
    } else {
      out.error_code = ErrorCode::kUnknownTopicOrPartition;
      out.error_message = "There is nothing to delete.";
    }
  }
  return topics;
}

}  // namespace

void handle(RequestContext& context, DeleteShareGroupOffsetsRequest&& request,
            Reply<DeleteShareGroupOffsetsResponse> reply) {
  if (!serves_share_groups(context.broker)) {
    return reply.send({.error_code = ErrorCode::kUnsupportedVersion});
  }
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), reply = std::move(reply)](
                                          Result<GroupShard*> shard, Broker& owner) mutable {
    DeleteShareGroupOffsetsResponse response;
    if (!shard) {
      return reply.send({.error_code = shard.error().code});
    }
    const auto topics = take_topics(*owner.image(), **shard, request, response);
    (*shard)->delete_share_offsets(
        request.group_id, topics,
        [response = std::move(response), reply = std::move(reply)](ErrorCode code) mutable {
          reply.send(code == ErrorCode::kNone
                         ? response
                         : DeleteShareGroupOffsetsResponse{
                               .error_code = code, .error_message = std::string(name_of(code))});
        });
  });
}

}  // namespace klamm::broker
