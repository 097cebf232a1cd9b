// FindCoordinator (key 10), v0-6.   v1: key types.   v4: many keys at once.   v6: share groups
// (type 2), whose keys are "group:topic id:partition". Creates the coordinator's topic when it is
// first needed.
#include <charconv>

#include "broker/cluster/broker_address.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/find_coordinator_request.h"
#include "protocol/generated/find_coordinator_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int8_t kGroup = 0;
constexpr int8_t kTransaction = 1;
constexpr int8_t kShare = 2;

using Coordinator = FindCoordinatorResponse::Coordinator;

Coordinator failed(const std::string& key, ErrorCode code, const char* why) {
  return {.key = key, .node_id = -1, .port = -1, .error_code = code, .error_message = why};
}

const char* topic_of(int8_t type) {
  return type == kTransaction ? kTransactionsTopic : type == kShare ? kShareTopic : kOffsetsTopic;
}

/// Whether `key` is "group:topic id:partition"; the group's name may have colons of its own.
bool is_share_key(std::string_view key) {
  const size_t last = key.rfind(':');
  const size_t first = last == 0 ? last : key.rfind(':', last - 1);
  if (last == std::string_view::npos || first == std::string_view::npos || first == last) {
    return false;
  }
  int32_t partition = 0;
  std::string_view digits = key.substr(last + 1);
  digits.remove_prefix(digits.size() > 1 && digits[0] == '+' && digits[1] != '-' ? 1 : 0);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), partition);
  return key.find_first_not_of(" \t\r\n") < first && error == std::errc() &&
         end == digits.data() + digits.size() &&
         Uuid::parse(key.substr(first + 1, last - first - 1)).has_value();
}

Coordinator find(Node& node, const std::string& listener, int16_t version, int8_t type,
                 const std::string& key) {
  if (type == kShare && (version < 6 || !is_share_key(key))) {
    return failed(key, ErrorCode::kInvalidRequest, "");
  }
  if (type < kGroup || type > kShare) {
    return failed(key, ErrorCode::kInvalidRequest, "Unknown coordinator type.");
  }
  const auto& image = *node.image();
  const auto topic = image.topic(topic_of(type));
  if (topic == nullptr) {
    return failed(key, ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
  }
  const int32_t partition =
      coordinator_partition(key, static_cast<int32_t>(topic->partitions.size()));
  const int32_t leader = topic->partitions.at(partition).leader;
  if (const auto address = address_of(image, leader, listener)) {
    return {.key = key,
            .node_id = leader,
            .host = address->host,
            .port = address->port,
            .error_message = ""};
  }
  return failed(key, ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
}

FindCoordinatorResponse find_all(Node& node, const std::string& listener, int16_t version,
                                 const FindCoordinatorRequest& request) {
  FindCoordinatorResponse response;
  if (version >= 4) {
    for (const auto& key : request.coordinator_keys) {
      response.coordinators.push_back(find(node, listener, version, request.key_type, key));
    }
    return response;
  }
  const Coordinator found = find(node, listener, version, request.key_type, request.key);
  response.error_code = found.error_code;
  response.error_message = found.error_message;
  response.node_id = found.node_id;
  response.host = found.host;
  response.port = found.port;
  return response;
}

}  // namespace

void handle(RequestContext& context, FindCoordinatorRequest&& request,
            Reply<FindCoordinatorResponse> reply) {
  context.broker.at_controller([listener = context.listener_name, request = std::move(request),
                                reply = std::move(reply)](Node& node) mutable {
    std::vector<std::string> needed;
    const int8_t newest = reply.version() < 6 ? kTransaction : kShare;
    if (request.key_type >= kGroup && request.key_type <= newest) {
      needed.emplace_back(topic_of(request.key_type));
    }
    node.ensure_topics(std::move(needed), [&node, listener, request = std::move(request),
                                           reply = std::move(reply)]() mutable {
      reply.send(find_all(node, listener, reply.version(), request));
    });
  });
}

}  // namespace klamm::broker
