// ReadShareGroupState (key 84), v0 (KIP-932).   From leaders of partitions, which fence those
// before them. Answered when that is committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/share_states.h"
#include "protocol/generated/read_share_group_state_request.h"
#include "protocol/generated/read_share_group_state_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = ReadShareGroupStateResponse::PartitionResult;

}  // namespace

void handle(RequestContext& context, ReadShareGroupStateRequest&& request,
            Reply<ReadShareGroupStateResponse> reply) {
  ask_share_states<ReadShareGroupStateResponse>(
      context.broker, request,
      [](ShareStateShard& states, const auto& question, int64_t now_ms, const auto& put) {
        states.read(
            question.key, question.partition.leader_epoch, now_ms,
            [question, put](const Result<SharePartitionState>& state) {
              if (!state) {
                return put(outcome_of<Answer>(question, state.error().code));
              }
              Answer answer = outcome_of<Answer>(question, ErrorCode::kNone);
              answer.state_epoch = state->state_epoch;
              answer.start_offset = state->start_offset;
              for (const auto& batch : state->batches) {
                answer.state_batches.push_back(
                    {batch.first, batch.last, static_cast<int8_t>(batch.state), batch.deliveries});
              }
              put(std::move(answer));
            });
      },
      [](const auto& question, const Error& error) {
        return outcome_of<Answer>(question, error.code);
      },
      std::move(reply));
}

}  // namespace klamm::broker
