// DescribeProducers (key 61), v0 (KIP-664).   The producers that a partition's leader remembers,
// and where their open transactions begin. Answers at once; never parked.
#include <algorithm>

#include "broker/ask_owners.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_producers_request.h"
#include "protocol/generated/describe_producers_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using PartitionAnswer = DescribeProducersResponse::PartitionResponse;

struct Question {
  std::string topic;
  int32_t partition;
};

PartitionAnswer describe(Broker& broker, const Question& question) {
  PartitionAnswer answer;
  answer.partition_index = question.partition;
  const auto partition = broker.replicas().find(question.topic, question.partition);
  if (!partition) {
    answer.error_code = partition.error().code;
    if (broker.image()->topic(question.topic) == nullptr) {
      answer.error_message = partition.error().why;
    }
    return answer;
  }
  for (const auto& [id, entry] : (*partition)->log().producers().producers()) {
    answer.active_producers.push_back(
        {.producer_id = id,
         .producer_epoch = entry.epoch,
         .last_sequence = entry.batches.empty() ? -1 : entry.batches.back().last_sequence,
         .last_timestamp = entry.last_timestamp,
         .coordinator_epoch = entry.coordinator_epoch,
         .current_txn_start_offset = entry.txn_first_offset});
  }
  std::ranges::sort(answer.active_producers, {}, [](const auto& of) { return of.producer_id; });
  return answer;
}

}  // namespace

void handle(RequestContext& context, DescribeProducersRequest&& request,
            Reply<DescribeProducersResponse> reply) {
  DescribeProducersResponse response;
  std::vector<Question> questions;
  for (const auto& topic : request.topics) {
    response.topics.push_back({.name = topic.name});
    response.topics.back().partitions.resize(topic.partition_indexes.size());
    for (const int32_t partition : topic.partition_indexes) {
      questions.push_back({topic.name, partition});
    }
  }
  ask_owners(
      context.broker, std::move(questions),
      [&broker = context.broker](const Question& question) {
        return broker.owner(question.topic, question.partition);
      },
      [](Broker& broker, const Question& question) { return describe(broker, question); },
      [response = std::move(response),
       reply = std::move(reply)](std::vector<PartitionAnswer> answers) mutable {
        put_in_order(response.topics, answers,
                     &DescribeProducersResponse::TopicResponse::partitions);
        reply.send(response);
      });
}

}  // namespace klamm::broker
