// ApiVersions (key 18), v0-5.   v3: client software name and version, features (KIP-511, KIP-584).
// v5: the client may say which cluster and node it means. An unknown version is answered with
// version 0 and UNSUPPORTED_VERSION. Answers at once; never parked.
#include <algorithm>

#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/table.h"
#include "protocol/frame.h"
#include "protocol/generated/api_versions_request.h"
#include "protocol/generated/api_versions_response.h"
#include "replication/metadata/features.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Librdkafka before 2.x takes a broker without Produce v0 for one that is too old, so the range
// starts there.
constexpr int16_t kProduceAdvertisedMin = 0;

// One letter or digit, or more with dots and dashes between.
bool is_software_name(const std::string& name) {
  const auto alphanumeric = [](unsigned char c) { return std::isalnum(c) != 0; };
  return !name.empty() && alphanumeric(name.front()) && alphanumeric(name.back()) &&
         std::all_of(name.begin(), name.end(),
                     [&](unsigned char c) { return alphanumeric(c) || c == '.' || c == '-'; });
}

void add_apis(ApiVersionsResponse& response, bool at_controller) {
  for (const HandlerRow& row : handler_table()) {
    if (!is_served(row, at_controller)) {
      continue;
    }
    const ApiFacts& api = *find_api(static_cast<int16_t>(row.key));
    const int16_t min = row.key == ApiKey::kProduce ? kProduceAdvertisedMin : api.version_min;
    response.api_keys.push_back({.api_key = static_cast<int16_t>(row.key),
                                 .min_version = min,
                                 .max_version = api.version_max});
  }
  std::sort(response.api_keys.begin(), response.api_keys.end(),
            [](const auto& a, const auto& b) { return a.api_key < b.api_key; });
}

void add_features(ApiVersionsResponse& response, const replication::MetadataImage& image,
                  int16_t version) {
  for (const auto& feature : replication::kFeatures) {
    // Before version 4 a range could not start at 0.
    if (version >= 4 || feature.level_min > 0) {
      response.supported_features.push_back({.name = feature.name,
                                             .min_version = feature.level_min,
                                             .max_version = feature.level_max});
    }
  }
  for (const auto& [name, level] : image.features) {
    response.finalized_features.push_back(
        {.name = name, .max_version_level = level, .min_version_level = level});
  }
  response.finalized_features_epoch = image.offset;
}

}  // namespace

void handle(RequestContext& context, ApiVersionsRequest&& request,
            Reply<ApiVersionsResponse> reply) {
  ApiVersionsResponse response;
  if (context.version < 0 || context.version > ApiVersionsRequest::kVersionMax) {
    response.error_code = ErrorCode::kUnsupportedVersion;
    response.api_keys.push_back({.api_key = ApiVersionsRequest::kKey,
                                 .min_version = ApiVersionsRequest::kVersionMin,
                                 .max_version = ApiVersionsRequest::kVersionMax});
    return reply.send_as(response, 0);
  }
  if (context.version >= 3 && (!is_software_name(request.client_software_name) ||
                               !is_software_name(request.client_software_version))) {
    response.error_code = ErrorCode::kInvalidRequest;
    return reply.send(response);
  }
  add_apis(response, context.broker.config().is_controller_listener(context.listener_name));
  if (context.version >= 3) {
    add_features(response, *context.broker.image(), context.version);
  }
  reply.send(response);
}

}  // namespace klamm::broker
