// TxnOffsetCommit (key 28), v0-6.   v3: who the consumer is (KIP-447).   v4: TRANSACTION_ABORTABLE.
// v5: the offsets' partition is added to the transaction here (KIP-890).   v6: topic ids. The
// offsets count when the producer's transaction commits. Answered when they are written, and the
// transaction's coordinator has said that they are part of it.
#include "broker/handlers/groups/offsets_to_commit.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/txn_offset_commit_request.h"
#include "protocol/generated/txn_offset_commit_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithLoading = 2;
constexpr int16_t kVersionWithAbortable = 4;
constexpr int16_t kVersionThatAdds = 5;
constexpr int16_t kVersionWithTopicIds = 6;

// Commits to a group within a transaction, on the shard that coordinates the group.
class Committing {
 public:
  Committing(const TxnOffsetCommitRequest& request, int16_t version, CommitRequest commit)
      : transaction_{request.transactional_id,
                     {request.producer_id, request.producer_epoch},
                     version >= kVersionThatAdds},
        knows_abortable_(version >= kVersionWithAbortable),
        commit_(std::move(commit)) {}

  void run(Broker& owner, const std::function<void(ErrorCode)>& finish) const {
    const auto topic = owner.image()->topic(kOffsetsTopic);
    const auto index = GroupCoordinator::partition_of(commit_.group_id, topic.get());
    if (!index) {
      return finish(index.error().code);
    }
    const auto partition = owner.replicas().find(kOffsetsTopic, *index);
    if (!partition) {
      return finish(ErrorCode::kNotCoordinator);
    }
    const TransactionPlace place{kOffsetsTopic, *index};
    const ProducerIdentity& producer = transaction_.producer;
    const uint64_t token =
        (*partition)
            ->log()
            .begin_verification(producer.id, producer.epoch, -1, owner.clock().wall_ms());
    if (!transaction_.adds && !verifies(owner)) {
      return write(owner, std::nullopt, finish);
    }
    if (token == 0 && !owner.verifier().is_waiting(transaction_, place)) {
      return write(owner, token, finish);
    }
    owner.verifier().ask(
        transaction_, place, [self = *this, &owner, token, finish](ErrorCode code) {
          if (code == ErrorCode::kNone) {
            return self.write(owner, token, finish);
          }
          finish(told_to_producer(code, self.knows_abortable_, self.transaction_.adds,
                                  ErrorCode::kCoordinatorLoadInProgress));
        });
  }

 private:
  static bool verifies(const Broker& broker) {
    return broker.config().flag("transaction.partition.verification.enable");
  }
  void write(Broker& owner, std::optional<uint64_t> verification,
             const std::function<void(ErrorCode)>& finish) const {
    CommitRequest commit = commit_;
    commit.transaction = {transaction_.producer, verification};
    owner.with_own_group(commit.group_id, [&](Result<GroupShard*> shard) {
      shard ? (*shard)->commit(commit, owner.groups().now_ms(), finish)
            : finish(shard.error().code);
    });
  }

  TransactionToVerify transaction_;
  bool knows_abortable_;
  CommitRequest commit_;
};

}  // namespace

void handle(RequestContext& context, TxnOffsetCommitRequest&& request,
            Reply<TxnOffsetCommitResponse> reply) {
  TxnOffsetCommitResponse response;
  CommitRequest commit{
      request.group_id, request.member_id, request.group_instance_id,
      request.generation_id_or_member_epoch,
      take_offsets(context.broker, request, context.version >= kVersionWithTopicIds, -1, response)};
  if (commit.offsets.empty()) {
    return reply.send(response);
  }
  auto shared =
      std::make_shared<std::pair<Reply<TxnOffsetCommitResponse>, TxnOffsetCommitResponse>>(
          std::move(reply), std::move(response));
  const auto finish = [shared](ErrorCode error) {
    // Clients of old cannot wait for a coordinator that is loading.
    const bool is_old = shared->first.version() < kVersionWithLoading;
    note_outcome(shared->second, is_old && error == ErrorCode::kCoordinatorLoadInProgress
                                     ? ErrorCode::kCoordinatorNotAvailable
                                     : error);
    shared->first.send(shared->second);
  };
  context.broker.at(context.broker.group_owner(request.group_id),
                    [committing = Committing(request, context.version, std::move(commit)),
                     finish](Broker& owner) { committing.run(owner, finish); });
}

}  // namespace klamm::broker
