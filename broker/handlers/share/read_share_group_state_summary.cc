// ReadShareGroupStateSummary (key 87), v0-1 (KIP-932).   v1: how many records are done with.
// From group coordinators. Answers at once; never parked.
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/share_states.h"
#include "protocol/generated/read_share_group_state_summary_request.h"
#include "protocol/generated/read_share_group_state_summary_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = ReadShareGroupStateSummaryResponse::PartitionResult;

}  // namespace

void handle(RequestContext& context, ReadShareGroupStateSummaryRequest&& request,
            Reply<ReadShareGroupStateSummaryResponse> reply) {
  ask_share_states<ReadShareGroupStateSummaryResponse>(
      context.broker, request,
      [](ShareStateShard& states, const auto& question, int64_t, const auto& put) {
        const auto state = states.summary(question.key);
        Answer answer = outcome_of<Answer>(question, state ? ErrorCode::kNone : state.error().code);
        if (state) {
          answer.state_epoch = state->state_epoch;
          answer.leader_epoch = state->leader_epoch;
          answer.start_offset = state->start_offset;
          answer.delivery_complete_count = state->delivery_complete_count;
        }
        put(std::move(answer));
      },
      [](const auto& question, const Error& error) {
        return outcome_of<Answer>(question, error.code);
      },
      std::move(reply));
}

}  // namespace klamm::broker
