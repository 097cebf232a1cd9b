// EndTxn (key 26), v0-5.   v2: PRODUCER_FENCED.   v5: transaction.version 2, tells the next
// transaction's id and epoch (KIP-890).   Answered when the decision is committed; the markers
// follow.
#include "broker/handlers/handlers.h"
#include "broker/handlers/transactions/fencing.h"
#include "protocol/generated/end_txn_request.h"
#include "protocol/generated/end_txn_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithFencing = 2;
constexpr int16_t kVersionWithEpochs = 5;

EndTxnResponse answer(const TransactionShard::Identified& result, int16_t version) {
  EndTxnResponse response;
  response.error_code = in_words_of(version >= kVersionWithFencing, result.error);
  if (version >= kVersionWithEpochs) {
    response.producer_id = result.producer.id;
    response.producer_epoch = result.producer.epoch;
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, EndTxnRequest&& request, Reply<EndTxnResponse> reply) {
  if (request.transactional_id.empty()) {
    return reply.send(answer({ErrorCode::kInvalidRequest, {}}, context.version));
  }
  const TransactionShard::End end{.id = request.transactional_id,
                                  .producer = {request.producer_id, request.producer_epoch},
                                  .commits = request.committed,
                                  .client_version = context.version >= kVersionWithEpochs
                                                        ? kVersionWithEpochPerTransaction
                                                        : int16_t{0}};
  context.broker.with_transactions(
      end.id,
      [end, reply = std::move(reply)](Result<TransactionShard*> shard, Broker& owner) mutable {
        if (!shard) {
          return reply.send(answer({shard.error().code, {}}, reply.version()));
        }
        (*shard)->end(end, owner.clock().wall_ms(),
                      [reply = std::move(reply)](TransactionShard::Identified result) mutable {
                        reply.send(answer(result, reply.version()));
                      });
      });
}

}  // namespace klamm::broker
