// InitializeShareGroupState (key 83), v0 (KIP-932).   From group coordinators. Answered when it is
// committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/share_states.h"
#include "protocol/generated/initialize_share_group_state_request.h"
#include "protocol/generated/initialize_share_group_state_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = InitializeShareGroupStateResponse::PartitionResult;

}  // namespace

void handle(RequestContext& context, InitializeShareGroupStateRequest&& request,
            Reply<InitializeShareGroupStateResponse> reply) {
  ask_share_states<InitializeShareGroupStateResponse>(
      context.broker, request,
      [](ShareStateShard& states, const auto& question, int64_t now_ms, const auto& put) {
        states.initialize(
            question.key, question.partition.state_epoch, question.partition.start_offset, now_ms,
            [question, put](ErrorCode code) { put(outcome_of<Answer>(question, code)); });
      },
      [](const auto& question, const Error& error) {
        return outcome_of<Answer>(question, error.code);
      },
      std::move(reply));
}

}  // namespace klamm::broker
