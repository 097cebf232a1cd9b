// DeleteShareGroupState (key 86), v0 (KIP-932).   From group coordinators. Answered when it is
// committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/share_states.h"
#include "protocol/generated/delete_share_group_state_request.h"
#include "protocol/generated/delete_share_group_state_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Answer = DeleteShareGroupStateResponse::PartitionResult;

}  // namespace

void handle(RequestContext& context, DeleteShareGroupStateRequest&& request,
            Reply<DeleteShareGroupStateResponse> reply) {
  ask_share_states<DeleteShareGroupStateResponse>(
      context.broker, request,
      [](ShareStateShard& states, const auto& question, int64_t, const auto& put) {
        states.remove(question.key,
                      [question, put](ErrorCode code) { put(outcome_of<Answer>(question, code)); });
      },
      [](const auto& question, const Error& error) {
        return outcome_of<Answer>(question, error.code);
      },
      std::move(reply));
}

}  // namespace klamm::broker
