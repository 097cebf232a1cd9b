// ListConfigResources (key 74), v0-1 (KIP-714, KIP-1142).   v0: metrics subscriptions.   v1: of the
// kinds that are asked for, without any named of all. Topics and brokers are listed as they exist,
// the others when something is set for them.
#include <set>

#include "broker/handlers/handlers.h"
#include "protocol/generated/list_config_resources_request.h"
#include "protocol/generated/list_config_resources_response.h"

namespace klamm::broker {

using namespace protocol;
using replication::ConfigResource;

namespace {

constexpr ConfigResource kAllKinds[] = {ConfigResource::kTopic, ConfigResource::kBroker,
                                        ConfigResource::kBrokerLogger,
                                        ConfigResource::kClientMetrics, ConfigResource::kGroup};

std::set<ConfigResource> wanted_kinds(const ListConfigResourcesRequest& request, int16_t version) {
  if (version == 0) {
    return {ConfigResource::kClientMetrics};
  }
  std::set<ConfigResource> kinds;
  for (const int8_t kind : request.resource_types) {
    kinds.insert(static_cast<ConfigResource>(kind));
  }
  return kinds.empty() ? std::set<ConfigResource>(std::begin(kAllKinds), std::end(kAllKinds))
                       : kinds;
}

std::vector<std::string> names_of(const replication::MetadataImage& image, ConfigResource kind) {
  std::vector<std::string> names;
  switch (kind) {
    case ConfigResource::kTopic:
      for (const auto& [name, topic] : image.topics->by_name) {
        names.push_back(name);
      }
      break;
    case ConfigResource::kBroker:
    case ConfigResource::kBrokerLogger:
      for (const auto& [id, broker] : image.brokers) {
        names.push_back(std::to_string(id));
      }
      break;
    default:
      for (const auto& [resource, entries] : *image.configs) {
        if (resource.first == kind) {
          names.push_back(resource.second);
        }
      }
  }
  return names;
}

}  // namespace

void handle(RequestContext& context, ListConfigResourcesRequest&& request,
            Reply<ListConfigResourcesResponse> reply) {
  ListConfigResourcesResponse response;
  for (const ConfigResource kind : wanted_kinds(request, context.version)) {
    if (std::find(std::begin(kAllKinds), std::end(kAllKinds), kind) == std::end(kAllKinds)) {
      response.error_code = ErrorCode::kUnsupportedVersion;
      response.config_resources.clear();
      break;
    }
    for (std::string& name : names_of(*context.broker.image(), kind)) {
      response.config_resources.push_back(
          {.resource_name = std::move(name), .resource_type = static_cast<int8_t>(kind)});
    }
  }
  reply.send(response);
}

}  // namespace klamm::broker
