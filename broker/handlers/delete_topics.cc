// DeleteTopics (key 20), v1-6.   v5: error messages.   v6: by name or by id.
// Answered when the records are committed; the files go in the background.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/delete_topics_request.h"
#include "protocol/generated/delete_topics_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Outcome = DeleteTopicsResponse::DeletableTopicResult;

Outcome failed(std::optional<std::string> name, const Uuid& id, ErrorCode code, std::string why) {
  Outcome outcome;
  outcome.name = std::move(name);
  outcome.topic_id = id;
  outcome.error_code = code;
  outcome.error_message = std::move(why);
  return outcome;
}

Outcome remove(Node& node, const std::optional<std::string>& name, const Uuid& id) {
  if (!node.config().flag("delete.topic.enable")) {
    return failed(name, id, ErrorCode::kTopicDeletionDisabled, "Topic deletion is disabled.");
  }
  if (name && !id.is_zero()) {
    return failed(name, id, ErrorCode::kInvalidRequest,
                  "You may not specify both topic name and topic id.");
  }
  if (!name && id.is_zero()) {
    return failed(name, id, ErrorCode::kInvalidRequest,
                  "Neither topic name nor id were specified.");
  }
  const auto topic = name ? node.working_image()->topic(*name) : node.working_image()->topic(id);
  if (topic == nullptr) {
    return name ? failed(name, id, ErrorCode::kUnknownTopicOrPartition,
                         "This server does not host this topic-partition.")
                : failed(name, id, ErrorCode::kUnknownTopicId,
                         "This server does not host this topic ID.");
  }
  if (auto done = node.append(replication::delete_topic(*topic)); !done) {
    return failed(name, id, done.error().code, std::move(done.error().why));
  }
  Outcome outcome;
  outcome.name = topic->name;
  outcome.topic_id = topic->id;
  return outcome;
}

}  // namespace

void handle(RequestContext& context, DeleteTopicsRequest&& request,
            Reply<DeleteTopicsResponse> reply) {
  context.broker.at_controller([request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    DeleteTopicsResponse response;
    for (const auto& topic : request.topics) {
      response.responses.push_back(remove(node, topic.name, topic.topic_id));
    }
    for (const auto& name : request.topic_names) {
      response.responses.push_back(remove(node, name, {}));
    }
    node.when_committed([response = std::move(response),
                         reply = std::move(reply)](const Result<>& committed) mutable {
      for (auto& topic : response.responses) {
        if (!committed && topic.error_code == ErrorCode::kNone) {
          topic = failed(topic.name, topic.topic_id, committed.error().code, committed.error().why);
        }
      }
      reply.send(response);
    });
  });
}

}  // namespace klamm::broker
