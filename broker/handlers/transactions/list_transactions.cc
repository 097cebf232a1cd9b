// ListTransactions (key 66), v0-2 (KIP-664).   v1: by duration.   v2: by a pattern of ids
// (KIP-1152).   What the shards of this broker coordinate. Answers at once; never parked.
#include <re2/re2.h>

#include <algorithm>

#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/list_transactions_request.h"
#include "protocol/generated/list_transactions_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Listed = ListTransactionsResponse::TransactionState;

struct Filter {
  std::vector<std::string> states;
  std::vector<int64_t> producer_ids;
  int64_t longer_than_ms = -1;
  std::shared_ptr<const re2::RE2> pattern;  // null: every id

  bool passes(const std::string& id, const Transaction& transaction, int64_t now_ms) const {
    return (producer_ids.empty() || contains(producer_ids, transaction.producer_id)) &&
           (states.empty() || contains(states, name_of(transaction.state))) &&
           (longer_than_ms < 0 || now_ms - transaction.started_ms > longer_than_ms) &&
           (pattern == nullptr || re2::RE2::FullMatch(id, *pattern));
  }

 private:
  template <class Values, class Value>
  static bool contains(const Values& values, const Value& value) {
    return std::ranges::find(values, value) != values.end();
  }
};

bool is_state(const std::string& name) {
  for (auto state = static_cast<int>(TransactionState::kEmpty);
       state <= static_cast<int>(TransactionState::kPrepareEpochFence); ++state) {
    if (name == name_of(static_cast<TransactionState>(state))) {
      return true;
    }
  }
  return false;
}

std::vector<Listed> list(Broker& broker, const Filter& filter) {
  std::vector<Listed> listed;
  const int64_t now = broker.clock().wall_ms();
  broker.transactions().for_each([&](const TransactionShard& shard) {
    for (const auto& [id, transaction] : shard.transactions()) {
      if (filter.passes(id, transaction, now)) {
        listed.push_back({.transactional_id = id,
                          .producer_id = transaction.producer_id,
                          .transaction_state = std::string(name_of(transaction.state))});
      }
    }
  });
  return listed;
}

}  // namespace

void handle(RequestContext& context, ListTransactionsRequest&& request,
            Reply<ListTransactionsResponse> reply) {
  ListTransactionsResponse response;
  Filter filter{request.state_filters, request.producer_id_filters, request.duration_filter, {}};
  std::ranges::remove_copy_if(filter.states, std::back_inserter(response.unknown_state_filters),
                              is_state);
  if (!request.transactional_id_pattern.value_or("").empty()) {
    filter.pattern =
        std::make_shared<const re2::RE2>(*request.transactional_id_pattern, re2::RE2::Quiet);
    if (!filter.pattern->ok()) {
      response.error_code = ErrorCode::kInvalidRegularExpression;
      return reply.send(response);
    }
  }
  ask_owners(
      context.broker, context.broker.all_shards(), [](size_t shard) { return shard; },
      [filter](Broker& broker, size_t) { return list(broker, filter); },
      [response = std::move(response), reply = std::move(reply)](auto lists) mutable {
        for (auto& listed : lists) {
          std::ranges::move(listed, std::back_inserter(response.transaction_states));
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
