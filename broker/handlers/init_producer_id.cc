// InitProducerId (key 22), v0-5.   v3: an idempotent producer may bring its id and epoch.
// Transactional producers are not served yet and are told so by UNSUPPORTED_VERSION. Answered when
// the block of ids is committed.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, InitProducerIdRequest&& request,
            Reply<InitProducerIdResponse> reply) {
  InitProducerIdResponse response;
  response.producer_epoch = -1;
  if (request.transactional_id) {
    response.error_code = request.transactional_id->empty() ? ErrorCode::kInvalidRequest
                                                            : ErrorCode::kUnsupportedVersion;
    return reply.send(response);
  }
  context.broker.at_controller([response, reply = std::move(reply)](Node& node) mutable {
    node.next_producer_id([response, reply = std::move(reply)](Result<int64_t> id) mutable {
      if (id) {
        response.producer_id = *id;
        response.producer_epoch = 0;
      } else {
        response.error_code = id.error().code;
      }
      reply.send(response);
    });
  });
}

}  // namespace klamm::broker
