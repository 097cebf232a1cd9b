// OffsetForLeaderEpoch (key 23), v2-4 (KIP-101, KIP-320): where a leader's epoch ended. Answers at
// once; never parked.
#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/offset_for_leader_epoch_request.h"
#include "protocol/generated/offset_for_leader_epoch_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

struct Question {
  std::string topic;
  OffsetForLeaderEpochRequest::OffsetForLeaderPartition asked;
};
using Answer = OffsetForLeaderEpochResponse::EpochEndOffset;

Answer answer(Broker& broker, const Question& question) {
  Answer out;
  out.partition = question.asked.partition;
  const auto found = broker.replicas().find(question.topic, out.partition);
  out.error_code =
      found ? (*found)->check_epoch(question.asked.current_leader_epoch) : found.error().code;
  if (out.error_code == ErrorCode::kNone) {
    const storage::Log& log = (*found)->log();
    const auto end = log.epochs().end_of(question.asked.leader_epoch, log.end_offset());
    out.leader_epoch = end.epoch;
    out.end_offset = end.start_offset;
  }
  return out;
}

}  // namespace

void handle(RequestContext& context, OffsetForLeaderEpochRequest&& request,
            Reply<OffsetForLeaderEpochResponse> reply) {
  OffsetForLeaderEpochResponse response;
  std::vector<Question> questions;
  for (const auto& topic : request.topics) {
    response.topics.push_back({.topic = topic.topic});
    response.topics.back().partitions.resize(topic.partitions.size());
    for (const auto& asked : topic.partitions) {
      questions.push_back({topic.topic, asked});
    }
  }
  ask_owners(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.topic, question.asked.partition);
      },
      answer,
      [response = std::move(response),
       reply = std::move(reply)](std::vector<Answer> answers) mutable {
        put_in_order(response.topics, answers,
                     &OffsetForLeaderEpochResponse::OffsetForLeaderTopicResult::partitions);
        reply.send(response);
      });
}

}  // namespace klamm::broker
