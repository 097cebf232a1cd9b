// WriteShareGroupState (key 85), v0-1 (KIP-932).   v1: how many records are done with.   From
// leaders of partitions. Answered when it is committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/share_states.h"
#include "protocol/generated/write_share_group_state_request.h"
#include "protocol/generated/write_share_group_state_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = WriteShareGroupStateResponse::PartitionResult;

}  // namespace

void handle(RequestContext& context, WriteShareGroupStateRequest&& request,
            Reply<WriteShareGroupStateResponse> reply) {
  ask_share_states<WriteShareGroupStateResponse>(
      context.broker, request,
      [](ShareStateShard& states, const auto& question, int64_t now_ms, const auto& put) {
        const auto& asked = question.partition;
        ShareStateUpdate update{asked.state_epoch,
                                asked.leader_epoch,
                                asked.start_offset,
                                asked.delivery_complete_count,
                                {}};
        for (const auto& batch : asked.state_batches) {
          update.batches.push_back({batch.first_offset, batch.last_offset,
                                    static_cast<DeliveryState>(batch.delivery_state),
                                    batch.delivery_count});
        }
        states.write(question.key, update, now_ms,
                     [question, put](ErrorCode code) { put(outcome_of<Answer>(question, code)); });
      },
      [](const auto& question, const Error& error) {
        return outcome_of<Answer>(question, error.code);
      },
      std::move(reply));
}

}  // namespace klamm::broker
