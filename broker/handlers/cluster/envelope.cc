// Envelope (key 58), v0: a broker hands on a client's request to the active controller, with who
// the client is (KIP-590). Only requests that brokers forward may be inside.
#include "broker/cluster/inner_request.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/envelope_request.h"
#include "protocol/generated/envelope_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, EnvelopeRequest&& request, Reply<EnvelopeResponse> reply) {
  context.broker.at_controller([request = std::move(request), listener = context.listener_name,
                                reply = std::move(reply)](Node& node) mutable {
    answer_at_controller(node, request.request_data, "", listener,
                         [reply = std::move(reply)](Result<Bytes> answer) mutable {
                           EnvelopeResponse response;
                           response.response_data.reset();
                           if (answer) {
                             response.response_data = std::move(*answer);
                           } else {
                             response.error_code = answer.error().code;
                           }
                           reply.send(response);
                         });
  });
}

}  // namespace klamm::broker
