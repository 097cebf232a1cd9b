// InitProducerId (key 22), v0-6.   v3: a producer may bring its id and epoch (KIP-360).   v4:
// PRODUCER_FENCED.   v6: two-phase commit (KIP-939).   Answered when the block of ids, or the
// transactional id's new epoch, is committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/transactions/fencing.h"
#include "broker/node.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithFencing = 4;

InitProducerIdResponse answer(ErrorCode error, ProducerIdentity producer) {
  InitProducerIdResponse response;
  response.error_code = error;
  response.producer_id = producer.id;
  response.producer_epoch = producer.epoch;
  return response;
}

void init_idempotent(Broker& broker, Reply<InitProducerIdResponse> reply) {
  broker.at_controller([reply = std::move(reply)](Node& node) mutable {
    node.next_producer_id([reply = std::move(reply)](Result<int64_t> id) mutable {
      reply.send(id ? answer(ErrorCode::kNone, {*id, 0}) : answer(id.error().code, {}));
    });
  });
}

}  // namespace

void handle(RequestContext& context, InitProducerIdRequest&& request,
            Reply<InitProducerIdResponse> reply) {
  const bool brings_id = request.producer_id != -1;
  if (brings_id != (request.producer_epoch != -1) ||
      (request.transactional_id && request.transactional_id->empty())) {
    return reply.send(answer(ErrorCode::kInvalidRequest, {}));
  }
  if (!request.transactional_id) {
    return init_idempotent(context.broker, std::move(reply));
  }
  TransactionShard::Init init{.id = *request.transactional_id,
                              .timeout_ms = request.transaction_timeout_ms,
                              .two_phase_commit = request.enable2_pc,
                              .keep_prepared = request.keep_prepared_txn};
  if (brings_id) {
    init.expected = {request.producer_id, request.producer_epoch};
  }
  context.broker.with_transactions(
      init.id,
      [init, reply = std::move(reply)](Result<TransactionShard*> shard, Broker& owner) mutable {
        if (!shard) {
          return reply.send(answer(shard.error().code, {}));
        }
        (*shard)->init(init, owner.clock().wall_ms(),
                       [reply = std::move(reply)](TransactionShard::Identified result) mutable {
                         const bool knows = reply.version() >= kVersionWithFencing;
                         reply.send(answer(in_words_of(knows, result.error), result.producer));
                       });
      });
}

}  // namespace klamm::broker
