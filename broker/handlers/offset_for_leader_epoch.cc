// OffsetForLeaderEpoch (key 23), v2-4 (KIP-101, KIP-320): where a leader's epoch ended. Answers at
// once; never parked.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/offset_for_leader_epoch_request.h"
#include "protocol/generated/offset_for_leader_epoch_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const OffsetForLeaderEpochRequest& request,
            Reply<OffsetForLeaderEpochResponse> reply) {
  OffsetForLeaderEpochResponse response;
  for (const auto& topic : request.topics) {
    auto& out = response.topics.emplace_back();
    out.topic = topic.topic;
    for (const auto& asked : topic.partitions) {
      auto& answer = out.partitions.emplace_back();
      answer.partition = asked.partition;
      const auto found = context.broker.replicas().find(topic.topic, asked.partition);
      answer.error_code =
          found ? (*found)->check_epoch(asked.current_leader_epoch) : found.error().code;
      if (answer.error_code == ErrorCode::kNone) {
        const storage::Log& log = (*found)->log();
        const auto end = log.epochs().end_of(asked.leader_epoch, log.end_offset());
        answer.leader_epoch = end.epoch;
        answer.end_offset = end.start_offset;
      }
    }
  }
  reply.send(response);
}

}  // namespace klamm::broker
