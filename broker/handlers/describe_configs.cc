// DescribeConfigs (key 32), v1-4.   v1: synonyms and sources.   v3: types and documentation (the
// documentation stays with Kafka).   Topics, brokers and groups. Answers at once; never parked.
#include <algorithm>

#include "broker/broker.h"
#include "broker/handlers/config_description.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/describe_configs_request.h"
#include "protocol/generated/describe_configs_response.h"
#include "replication/controller/topics.h"

namespace klamm::broker {

using namespace protocol;
using replication::ConfigResource;

namespace {

using Resource = DescribeConfigsRequest::DescribeConfigsResource;

Result<std::vector<ConfigDescription>> describe(RequestContext& context, const Resource& resource) {
  const auto& broker = context.broker;
  const std::string& name = resource.resource_name;
  switch (static_cast<ConfigResource>(resource.resource_type)) {
    case ConfigResource::kTopic:
      TRY_VOID(replication::check_topic_name(name));
      if (broker.image()->topic(name) == nullptr) {
        return fail(ErrorCode::kUnknownTopicOrPartition, "");  // the reference says no more
      }
      return describe_topic_config(broker.config(),
                                   broker.image()->config(ConfigResource::kTopic, name));
    case ConfigResource::kBroker:
      if (name.empty()) {
        return describe_cluster_config(broker.image()->config(ConfigResource::kBroker, ""));
      }
      if (name != std::to_string(broker.config().node_id())) {
        return fail(ErrorCode::kInvalidRequest, "Unexpected broker id, expected " +
                                                    std::to_string(broker.config().node_id()) +
                                                    " or empty string, but received " + name);
      }
      return describe_broker_config(broker.config());
    case ConfigResource::kGroup:
      if (name.empty()) {
        return fail(ErrorCode::kInvalidRequest, "Group name must not be empty");
      }
      return describe_group_config(broker.config(),
                                   broker.image()->config(ConfigResource::kGroup, name));
    case ConfigResource::kClientMetrics:
      if (name.empty()) {
        return fail(ErrorCode::kInvalidRequest,
                    "Client metrics subscription name must not be empty");
      }
      return describe_client_metrics(broker.config(),
                                     broker.image()->config(ConfigResource::kClientMetrics, name));
    default:
      return fail(ErrorCode::kInvalidRequest,
                  "Unsupported resource type: " + std::to_string(resource.resource_type));
  }
}

DescribeConfigsResponse::DescribeConfigsResourceResult to_answer(ConfigDescription&& entry,
                                                                 bool with_synonyms) {
  DescribeConfigsResponse::DescribeConfigsResourceResult out;
  out.name = std::move(entry.name);
  out.value = std::move(entry.value);
  out.read_only = entry.read_only;
  out.config_source = static_cast<int8_t>(entry.source);
  out.is_sensitive = entry.sensitive;
  out.config_type = static_cast<int8_t>(entry.type);
  out.documentation.reset();
  if (with_synonyms) {
    for (auto& synonym : entry.synonyms) {
      out.synonyms.push_back({.name = std::move(synonym.name),
                              .value = std::move(synonym.value),
                              .source = static_cast<int8_t>(synonym.source)});
    }
  }
  return out;
}

}  // namespace

void handle(RequestContext& context, DescribeConfigsRequest&& request,
            Reply<DescribeConfigsResponse> reply) {
  DescribeConfigsResponse response;  // without an error its message is empty, not null
  for (const auto& resource : request.resources) {
    auto& out = response.results.emplace_back();
    out.resource_type = resource.resource_type;
    out.resource_name = resource.resource_name;
    auto described = describe(context, resource);
    if (!described) {
      out.error_code = described.error().code;
      out.error_message = described.error().why;
      continue;
    }
    for (ConfigDescription& entry : *described) {
      const auto& keys = resource.configuration_keys;
      if (!keys || keys->empty() ||
          std::find(keys->begin(), keys->end(), entry.name) != keys->end()) {
        out.configs.push_back(to_answer(std::move(entry), request.include_synonyms));
      }
    }
  }
  reply.send(response);
}

}  // namespace klamm::broker
