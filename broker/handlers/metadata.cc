// Metadata (key 3), v0-13.   v1: null means all topics, empty means none.   v4: auto creation may
// be declined. v8-10: authorised operations.   v10: topic ids.   v12: topics may be asked by id.
// v13: top-level error. Creates missing topics when the request and auto.create.topics.enable allow
// it. Answers at once; never parked.
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/metadata_request.h"
#include "protocol/generated/metadata_response.h"

namespace klamm::broker {

using namespace protocol;
using replication::TopicImage;

namespace {

using Topic = MetadataResponse::MetadataResponseTopic;

Topic describe(const TopicImage& image, bool with_operations) {
  Topic topic;
  topic.name = image.name;
  topic.topic_id = image.id;
  topic.is_internal = is_internal(image.name);
  topic.topic_authorized_operations = with_operations ? kTopicOperations : kOperationsNotAsked;
  for (const auto& [index, partition] : image.partitions) {
    MetadataResponse::MetadataResponsePartition out;
    out.partition_index = index;
    out.leader_id = partition.leader;
    out.leader_epoch = partition.leader_epoch;
    out.replica_nodes = partition.replicas;
    out.isr_nodes = partition.isr;
    out.error_code = partition.leader < 0 ? ErrorCode::kLeaderNotAvailable : ErrorCode::kNone;
    topic.partitions.push_back(std::move(out));
  }
  return topic;
}

Topic missing(ErrorCode error, std::optional<std::string> name, const Uuid& id,
              bool with_operations) {
  Topic topic;
  topic.topic_authorized_operations = with_operations ? kTopicOperations : kOperationsNotAsked;
  topic.error_code = error;
  topic.name = std::move(name);
  topic.topic_id = id;
  return topic;
}

Topic by_id(RequestContext& context, const MetadataRequest::MetadataRequestTopic& asked,
            bool with_operations) {
  const auto found = context.broker.image()->topic(asked.topic_id);
  if (found != nullptr) {
    return describe(*found, with_operations);
  }
  // Before version 12 a missing name has no form on the wire.
  return missing(ErrorCode::kUnknownTopicId,
                 context.version >= 12 ? std::nullopt : std::optional<std::string>(""),
                 asked.topic_id, with_operations);
}

Topic by_name(RequestContext& context, const std::string& name, bool with_operations) {
  if (const auto topic = context.broker.image()->topic(name)) {
    return describe(*topic, with_operations);
  }
  const bool legal = replication::check_topic_name(name).has_value();
  return missing(legal ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kInvalidTopicException,
                 name, {}, with_operations);
}

bool is_by_id(RequestContext& context, const MetadataRequest::MetadataRequestTopic& asked) {
  return context.version >= 10 && !asked.topic_id.is_zero();
}

bool asks_for_all(RequestContext& context, const MetadataRequest& request) {
  return !request.topics || (context.version == 0 && request.topics->empty());
}

// The topics that this request brings into being.
std::vector<std::string> to_create(RequestContext& context, const MetadataRequest& request) {
  std::vector<std::string> names;
  if (asks_for_all(context, request) ||
      (context.version >= 4 && !request.allow_auto_topic_creation) ||
      !context.broker.config().flag("auto.create.topics.enable")) {
    return names;
  }
  for (const auto& asked : *request.topics) {
    const std::string name = asked.name.value_or("");
    if (!is_by_id(context, asked) && context.broker.image()->topic(name) == nullptr &&
        replication::check_topic_name(name)) {
      names.push_back(name);
    }
  }
  return names;
}

void add_brokers(RequestContext& context, MetadataResponse& response) {
  for (const auto& [id, broker] : context.broker.image()->brokers) {
    for (const auto& endpoint : broker.endpoints) {
      if ((!broker.fenced || context.broker.has_just_departed(id)) &&
          endpoint.name == context.listener_name) {
        response.brokers.push_back(
            {.node_id = id, .host = endpoint.host, .port = endpoint.port, .rack = broker.rack});
      }
    }
  }
}

MetadataResponse describe(RequestContext& context, const MetadataRequest& request) {
  MetadataResponse response;
  response.cluster_id = context.broker.cluster_id();
  response.controller_id = context.broker.config().node_id();
  const bool with_operations = request.include_topic_authorized_operations;
  if (asks_for_all(context, request)) {
    for (const auto& [name, topic] : context.broker.image()->topics->by_name) {
      response.topics.push_back(describe(*topic, with_operations));
    }
  } else {
    for (const auto& asked : *request.topics) {
      response.topics.push_back(is_by_id(context, asked)
                                    ? by_id(context, asked, with_operations)
                                    : by_name(context, asked.name.value_or(""), with_operations));
    }
  }
  if (context.version >= 8 && request.include_cluster_authorized_operations) {
    response.cluster_authorized_operations = kClusterOperations;
  }
  add_brokers(context, response);
  return response;
}

}  // namespace

void handle(RequestContext& context, MetadataRequest&& request, Reply<MetadataResponse> reply) {
  auto names = to_create(context, request);
  if (names.empty()) {
    return reply.send(describe(context, request));
  }
  context.broker.at_controller([context, names = std::move(names), request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    node.ensure_topics(std::move(names), [&node, context, request = std::move(request),
                                          reply = std::move(reply)]() mutable {
      RequestContext there{node.shard(kControllerShard), context.version, "", "",
                           context.listener_name};
      reply.send(describe(there, request));
    });
  });
}

}  // namespace klamm::broker
