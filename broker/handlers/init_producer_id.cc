// InitProducerId (key 22), v0-5.   v3: an idempotent producer may bring its id and epoch.
// Transactional producers are not served yet and are told so by UNSUPPORTED_VERSION. Answered when
// the block of ids is committed.
#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, const InitProducerIdRequest& request,
            Reply<InitProducerIdResponse> reply) {
  InitProducerIdResponse response;
  response.producer_epoch = -1;
  if (request.transactional_id) {
    response.error_code = request.transactional_id->empty() ? ErrorCode::kInvalidRequest
                                                            : ErrorCode::kUnsupportedVersion;
    return reply.send(response);
  }
  const auto id = context.broker.next_producer_id();
  if (!id) {
    response.error_code = id.error().code;
    return reply.send(response);
  }
  response.producer_id = *id;
  response.producer_epoch = 0;
  reply.send(response);
}

}  // namespace klamm::broker
