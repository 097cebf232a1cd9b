// CreateTopics (key 19), v2-7.   v4: -1 means the default.   v5: the answer tells partitions and
// configuration. v7: topic ids.   Each topic succeeds or fails by itself. Answered when the records
// are committed.
#include <algorithm>
#include <map>

#include "broker/handlers/config_description.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Outcome = CreateTopicsResponse::CreatableTopicResult;

replication::NewTopic to_new_topic(const CreateTopicsRequest::CreatableTopic& asked) {
  replication::NewTopic topic;
  topic.name = asked.name;
  topic.partitions = asked.num_partitions;
  topic.replication_factor = asked.replication_factor;
  for (const auto& assignment : asked.assignments) {
    topic.assignments[assignment.partition_index] = assignment.broker_ids;
  }
  for (const auto& config : asked.configs) {
    if (config.value) {
      topic.configs[config.name] = *config.value;
    }
  }
  return topic;
}

Outcome failed(const std::string& name, Error error) {
  Outcome outcome;
  outcome.name = name;
  outcome.error_code = error.code;
  outcome.error_message = std::move(error.why);
  return outcome;
}

Outcome create(Node& node, const CreateTopicsRequest::CreatableTopic& asked, bool validate_only) {
  if (std::any_of(asked.configs.begin(), asked.configs.end(),
                  [](const auto& config) { return !config.value; })) {
    return failed(asked.name,
                  {ErrorCode::kInvalidConfig, "Null value not supported for topic configs"});
  }
  const auto topic = to_new_topic(asked);
  auto change = node.create_topic(topic, validate_only);
  if (!change) {
    return failed(asked.name, std::move(change.error()));
  }
  Outcome outcome;
  outcome.name = asked.name;
  outcome.topic_id = validate_only ? Uuid{} : change->id;
  outcome.num_partitions = change->partitions;
  outcome.replication_factor = change->replication_factor;
  for (const auto& entry :
       describe_topic_config(node.shard(kControllerShard).config(), topic.configs)) {
    outcome.configs->push_back({.name = entry.name,
                                .value = entry.value,
                                .read_only = entry.read_only,
                                .config_source = static_cast<int8_t>(entry.source),
                                .is_sensitive = entry.sensitive});
  }
  return outcome;
}

CreateTopicsResponse create_all(Node& node, const CreateTopicsRequest& request) {
  CreateTopicsResponse response;
  std::map<std::string, int> times_named;
  for (const auto& topic : request.topics) {
    ++times_named[topic.name];
  }
  for (const auto& topic : request.topics) {
    const int times = std::exchange(times_named[topic.name], -1);
    if (times == 1) {
      response.topics.push_back(create(node, topic, request.validate_only));
    } else if (times > 1) {
      response.topics.push_back(
          failed(topic.name, {ErrorCode::kInvalidRequest, "Duplicate topic name."}));
    }
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, CreateTopicsRequest&& request,
            Reply<CreateTopicsResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        auto response = create_all(node, request);
        node.when_committed([response = std::move(response),
                             reply = std::move(reply)](const Result<>& committed) mutable {
          for (auto& topic : response.topics) {
            if (!committed && topic.error_code == ErrorCode::kNone) {
              topic = failed(topic.name, committed.error());
            }
          }
          reply.send(response);
        });
      });
}

}  // namespace klamm::broker
