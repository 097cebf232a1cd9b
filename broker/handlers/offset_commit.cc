// OffsetCommit (key 8), v2-10.   v2-4: retention time.   v6: leader epochs.   v7: static members.
// v9: member epochs. v10: topic ids.   Answered when the offsets are committed.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithTopicIds = 10;

OffsetCommitValue to_value(const OffsetCommitRequest::OffsetCommitRequestPartition& partition,
                           const Uuid& topic_id, int64_t retention_ms, int64_t now_ms) {
  OffsetCommitValue value;
  value.offset = partition.committed_offset;
  value.leader_epoch = partition.committed_leader_epoch;
  value.metadata = partition.committed_metadata.value_or("");
  value.commit_timestamp = now_ms;
  value.expire_timestamp = retention_ms < 0 ? -1 : now_ms + retention_ms;
  value.topic_id = topic_id;
  return value;
}

}  // namespace

void handle(RequestContext& context, OffsetCommitRequest&& request,
            Reply<OffsetCommitResponse> reply) {
  OffsetCommitResponse response;
  CommitRequest commit{request.group_id,
                       request.member_id,
                       request.group_instance_id,
                       request.generation_id_or_member_epoch,
                       {}};
  const int64_t now = context.broker.clock().wall_ms();
  for (const auto& topic : request.topics) {
    const bool by_id = context.version >= kVersionWithTopicIds;
    const auto image = by_id ? context.broker.image()->topic(topic.topic_id)
                             : context.broker.image()->topic(topic.name);
    auto& out = response.topics.emplace_back();
    out.name = topic.name;
    out.topic_id = topic.topic_id;
    for (const auto& partition : topic.partitions) {
      auto& result = out.partitions.emplace_back();
      result.partition_index = partition.partition_index;
      if (image == nullptr) {
        result.error_code =
            by_id ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
      } else if (!image->partitions.contains(partition.partition_index)) {
        result.error_code = ErrorCode::kUnknownTopicOrPartition;
      } else if (static_cast<int64_t>(partition.committed_metadata.value_or("").size()) >
                 context.broker.groups().metadata_size_max()) {
        result.error_code = ErrorCode::kOffsetMetadataTooLarge;
      } else {
        commit.offsets.push_back({image->name, partition.partition_index,
                                  to_value(partition, image->id, request.retention_time_ms, now)});
      }
    }
  }
  auto shared = std::make_shared<std::pair<Reply<OffsetCommitResponse>, OffsetCommitResponse>>(
      std::move(reply), std::move(response));
  const auto finish = [shared](ErrorCode error) {
    for (auto& topic : shared->second.topics) {
      for (auto& partition : topic.partitions) {
        if (partition.error_code == ErrorCode::kNone) {
          partition.error_code = error;
        }
      }
    }
    shared->first.send(shared->second);
  };
  context.broker.with_group(request.group_id, [commit = std::move(commit), finish](
                                                  Result<GroupShard*> shard, Broker& owner) {
    shard ? (*shard)->commit(commit, owner.clock().wall_ms(), finish) : finish(shard.error().code);
  });
}

}  // namespace klamm::broker
