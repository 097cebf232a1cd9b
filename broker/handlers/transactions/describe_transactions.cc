// DescribeTransactions (key 65), v0 (KIP-664).   Each id is answered by the shard that coordinates
// it. Answers at once; never parked.
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_transactions_request.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Described = DescribeTransactionsResponse::TransactionState;

// Answers once all ids have.
struct Open {
  Reply<DescribeTransactionsResponse> reply;
  DescribeTransactionsResponse response;
  size_t left;

  void finish_one() {
    if (--left == 0) {
      reply.send(response);
    }
  }
};

}  // namespace

void handle(RequestContext& context, DescribeTransactionsRequest&& request,
            Reply<DescribeTransactionsResponse> reply) {
  const size_t count = request.transactional_ids.size();
  const auto open = std::make_shared<Open>(Open{std::move(reply), {}, count + 1});
  open->response.transaction_states.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const std::string& id = request.transactional_ids[i];
    context.broker.with_transactions(id, [open, i, id, home = context.broker.shard()](
                                             Result<TransactionShard*> shard, Broker& owner) {
      Described described =
          shard ? (*shard)->describe(id)
                : Described{.error_code = shard.error().code, .transactional_id = id};
      owner.at(home, [open, i, described = std::move(described)](Broker&) mutable {
        open->response.transaction_states[i] = std::move(described);
        open->finish_one();
      });
    });
  }
  open->finish_one();
}

}  // namespace klamm::broker
