// AlterShareGroupOffsets (key 91), v0 (KIP-932).   Where a group without members begins to read.
// Answered when the share coordinators and the group have it committed.
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/alter_share_group_offsets_request.h"
#include "protocol/generated/alter_share_group_offsets_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// What may be altered; `response` gets all partitions, with codes where one may not.
ShareStarts take_starts(const replication::MetadataImage& image,
                        const AlterShareGroupOffsetsRequest& request,
                        AlterShareGroupOffsetsResponse& response) {
  ShareStarts starts;
  for (const auto& asked : request.topics) {
    const auto topic = image.topic(asked.topic_name);
    auto& out = response.responses.emplace_back();
    out.topic_name = asked.topic_name;
    out.topic_id = topic == nullptr ? Uuid() : topic->id;
    for (const auto& partition : asked.partitions) {
      auto& result = out.partitions.emplace_back();
      result.partition_index = partition.partition_index;
      if (topic != nullptr && topic->partitions.contains(partition.partition_index)) {
        starts[{topic->id, partition.partition_index}] = partition.start_offset;
      } else {
        result.error_code = ErrorCode::kUnknownTopicOrPartition;
        result.error_message = std::string(name_of(result.error_code));
      }
    }
  }
  return starts;
}

}  // namespace

void handle(RequestContext& context, AlterShareGroupOffsetsRequest&& request,
            Reply<AlterShareGroupOffsetsResponse> reply) {
  if (!serves_share_groups(context.broker)) {
    return reply.send({.error_code = ErrorCode::kUnsupportedVersion});
  }
  const std::string group_id = request.group_id;
  context.broker.with_group(group_id, [request = std::move(request), reply = std::move(reply)](
                                          Result<GroupShard*> shard, Broker& owner) mutable {
    AlterShareGroupOffsetsResponse response;
    if (!shard) {
      return reply.send({.error_code = shard.error().code});
    }
    const auto starts = take_starts(*owner.image(), request, response);
    if (starts.empty()) {
      return reply.send(response);
    }
    (*shard)->alter_share_offsets(
        request.group_id, starts,
        [response = std::move(response), reply = std::move(reply)](ErrorCode code) mutable {
          reply.send(code == ErrorCode::kNone
                         ? response
                         : AlterShareGroupOffsetsResponse{
                               .error_code = code, .error_message = std::string(name_of(code))});
        });
  });
}

}  // namespace klamm::broker
