#pragma once
// How leaders of share partitions, and groups, reach the share coordinator that keeps a share
// partition's state: on this node, or on another by the requests that Kafka has for it. A
// coordinator that is not there, loads or has moved is tried again for a while.
#include <functional>
#include <memory>

#include "broker/coordinator/share_state/share_state_shard.h"
#include "replication/transport.h"

namespace klamm::broker {

class Broker;

class SharePersister {
 public:
  template <class Answer>
  using Done = std::function<void(Answer)>;

  explicit SharePersister(Broker& broker) : broker_(broker) {}

  // `done` is called on this shard, with what ShareStateShard's function of that name says, or with
  // COORDINATOR_NOT_AVAILABLE.
  void initialize(const SharePartitionKey& key, int32_t state_epoch, int64_t start_offset,
                  Done<ErrorCode> done);
  void read(const SharePartitionKey& key, int32_t leader_epoch,
            Done<Result<SharePartitionState>> done);
  void write(const SharePartitionKey& key, const ShareStateUpdate& update, Done<ErrorCode> done);
  void remove(const SharePartitionKey& key, Done<ErrorCode> done);
  void summary(const SharePartitionKey& key, Done<Result<SharePartitionState>> done);

 private:
  template <class Answer>
  struct Question;
  template <class Answer>
  using QuestionPtr = std::shared_ptr<Question<Answer>>;

  template <class Answer>
  void ask(const QuestionPtr<Answer>& question);
  template <class Answer>
  void ask_here(const QuestionPtr<Answer>& question, size_t shard, int32_t partition);
  template <class Answer>
  void ask_again(const QuestionPtr<Answer>& question);
  template <class Answer>
  void settle(const QuestionPtr<Answer>& question, Answer answer);
  template <class Response, class Answer, class Request, class Read>
  void call(const QuestionPtr<Answer>& question, const replication::Address& to, Request request,
            Read read);

  Broker& broker_;
};

}  // namespace klamm::broker
