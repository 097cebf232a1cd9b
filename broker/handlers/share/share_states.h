#pragma once
// What the five requests to a share coordinator have in common: share partitions by topic, each
// with the shard that keeps its state, and answers in the same order.
#include <string>
#include <utility>
#include <vector>

#include "broker/ask_owners.h"
#include "broker/coordinator/share_state/share_state_shard.h"
#include "broker/share/shares.h"

namespace klamm::broker {

// A partition of the request with its key.
template <class Partition>
struct StateQuestion {
  SharePartitionKey key;
  Partition partition;
};

// Calls `ask(states, question, put)` on the shard of each partition's coordinator, which puts the
// result then or later; `refuse(question, error)` makes the result where there is none. Answers
// with all of them.
template <class Response, class Request, class Ask, class Refuse, class Reply>
void ask_share_states(Broker& broker, const Request& request, Ask ask, Refuse refuse, Reply reply) {
  using Partition = std::decay_t<decltype(request.topics[0].partitions[0])>;
  using Question = StateQuestion<Partition>;
  using Answer = std::decay_t<decltype(std::declval<Response>().results[0].partitions[0])>;
  std::vector<Question> questions;
  Response response;
  for (const auto& topic : request.topics) {
    auto& out = response.results.emplace_back();
    out.topic_id = topic.topic_id;
    out.partitions.resize(topic.partitions.size());
    for (const auto& partition : topic.partitions) {
      questions.push_back({{request.group_id, topic.topic_id, partition.partition}, partition});
    }
  }
  const auto topic = broker.image()->topic(kShareTopic);
  const auto partition_of = [topic](const Question& question) {
    return ShareCoordinator::partition_of(question.key.text(), topic.get());
  };
  ask_owners_for<Answer>(
      broker, std::move(questions),
      [&broker, topic, partition_of](const Question& question) {
        const auto partition = partition_of(question);
        return partition ? broker.owner(topic->id, *partition) : broker.shard();
      },
      [ask, refuse, partition_of](Broker& owner, Question& question, AnswerSlot<Answer> slot) {
        const auto partition = partition_of(question);
        if (!partition) {
          return slot.put(refuse(question, partition.error()));
        }
        const auto put = [shared = std::make_shared<AnswerSlot<Answer>>(std::move(slot))](
                             Answer answer) { shared->put(std::move(answer)); };
        owner.shares().coordinator().with(*partition, [&](Result<ShareStateShard*> states) {
          states ? ask(**states, question, owner.clock().wall_ms(), put)
                 : put(refuse(question, states.error()));
        });
      },
      [response = std::move(response),
       reply = std::move(reply)](std::vector<Answer> answers) mutable {
        put_in_order(response.results, answers,
                     &std::decay_t<decltype(response.results[0])>::partitions);
        reply.send(response);
      });
}

// The result of a partition whose request has only a code.
template <class Answer, class Question>
Answer outcome_of(const Question& question, ErrorCode code) {
  Answer answer;
  answer.partition = question.key.partition;
  answer.error_code = code;
  if (code != ErrorCode::kNone) {
    answer.error_message = std::string(protocol::name_of(code));
  }
  return answer;
}

}  // namespace klamm::broker
