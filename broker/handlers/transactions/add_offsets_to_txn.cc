// AddOffsetsToTxn (key 25), v0-4.   v2: PRODUCER_FENCED.   Takes the partition that keeps a group's
// offsets into the transaction. Answered when that is committed.
#include "broker/handlers/handlers.h"
#include "broker/handlers/transactions/fencing.h"
#include "protocol/generated/add_offsets_to_txn_request.h"
#include "protocol/generated/add_offsets_to_txn_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithFencing = 2;

AddOffsetsToTxnResponse answer(ErrorCode error, int16_t version) {
  AddOffsetsToTxnResponse response;
  response.error_code = in_words_of(version >= kVersionWithFencing, error);
  return response;
}

// Of a group whose topic may still have to be created.
int32_t offsets_partition(const Broker& broker, const std::string& group_id) {
  const auto topic = broker.image()->topic(kOffsetsTopic);
  const auto count = topic != nullptr ? static_cast<int64_t>(topic->partitions.size())
                                      : broker.config().number("offsets.topic.num.partitions");
  return coordinator_partition(group_id, static_cast<int32_t>(count));
}

}  // namespace

void handle(RequestContext& context, AddOffsetsToTxnRequest&& request,
            Reply<AddOffsetsToTxnResponse> reply) {
  const TransactionPlace place{kOffsetsTopic, offsets_partition(context.broker, request.group_id)};
  context.broker.with_transactions(
      request.transactional_id, [request, place, reply = std::move(reply)](
                                    Result<TransactionShard*> shard, Broker& owner) mutable {
        if (!shard) {
          return reply.send(answer(shard.error().code, reply.version()));
        }
        (*shard)->add_partitions(
            request.transactional_id, {request.producer_id, request.producer_epoch}, {place}, 0,
            owner.clock().wall_ms(), [reply = std::move(reply)](ErrorCode error) mutable {
              reply.send(answer(error, reply.version()));
            });
      });
}

}  // namespace klamm::broker
