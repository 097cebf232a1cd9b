// DescribeTransactions (key 65), v0 (KIP-664).   Each id is answered by the shard that coordinates
// it. Answers at once; never parked.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_transactions_request.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Described = DescribeTransactionsResponse::TransactionState;

Described describe(Broker& broker, const std::string& id) {
  Described described;
  broker.with_own_transactions(id, [&](Result<TransactionShard*> shard) {
    described = shard ? (*shard)->describe(id)
                      : Described{.error_code = shard.error().code, .transactional_id = id};
  });
  return described;
}

}  // namespace

void handle(RequestContext& context, DescribeTransactionsRequest&& request,
            Reply<DescribeTransactionsResponse> reply) {
  ask_owners(
      context.broker, std::move(request.transactional_ids),
      [&broker = context.broker](const std::string& id) { return broker.transactions_owner(id); },
      describe,
      [reply = std::move(reply)](std::vector<Described> described) mutable {
        DescribeTransactionsResponse response;
        response.transaction_states = std::move(described);
        reply.send(response);
      });
}

}  // namespace klamm::broker
