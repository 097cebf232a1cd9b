#pragma once
// What AlterConfigs and IncrementalAlterConfigs have in common. Each resource succeeds or fails by
// itself. The broker that is asked answers for what it can see to be wrong and hands the rest on;
// the controller answers when the records are committed.
#include <algorithm>
#include <set>
#include <utility>

#include "broker/cluster/forwarding.h"
#include "broker/cluster/raft_driver.h"
#include "broker/cluster/request_frame.h"
#include "broker/config/config_changes.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/alter_configs_request.h"
#include "protocol/generated/incremental_alter_configs_request.h"
#include "replication/controller/configs.h"

namespace klamm::broker {

inline ConfigChange to_change(
    const protocol::IncrementalAlterConfigsRequest::AlterConfigsResource& resource) {
  ConfigChange change{.type = static_cast<replication::ConfigResource>(resource.resource_type),
                      .name = resource.resource_name};
  for (const auto& config : resource.configs) {
    change.keys.push_back(
        {config.name, static_cast<ConfigOperation>(config.config_operation), config.value});
  }
  return change;
}

inline ConfigChange to_change(const protocol::AlterConfigsRequest::AlterConfigsResource& resource) {
  ConfigChange change{.type = static_cast<replication::ConfigResource>(resource.resource_type),
                      .name = resource.resource_name,
                      .replaces = true};
  for (const auto& config : resource.configs) {
    change.keys.push_back({config.name, ConfigOperation::kSet, config.value});
  }
  return change;
}

template <class Resource>
std::pair<int8_t, std::string> resource_key(const Resource& resource) {
  return {resource.resource_type, resource.resource_name};
}

template <class Response, class Resource>
void add_outcome(Response& response, const Resource& resource, const Result<>& outcome) {
  auto& out = response.responses.emplace_back();
  out.resource_type = resource.resource_type;
  out.resource_name = resource.resource_name;
  out.error_message.reset();
  if (!outcome) {
    out.error_code = outcome.error().code;
    if (!outcome.error().why.empty()) {
      out.error_message = outcome.error().why;
    }
  }
}

template <class Response, class Request>
void change_configs_at_controller(Node& node, const Request& request, Reply<Response> reply) {
  Response response;
  for (const auto& resource : request.resources) {
    const ConfigChange change = to_change(resource);
    const auto image = node.working_image();
    const auto updates = decide(change, *image, node.shard(kControllerShard).config());
    Result<> outcome = updates ? Result<>() : std::unexpected(updates.error());
    if (updates && !updates->empty() && !request.validate_only) {
      outcome =
          node.append(replication::config_records(*image, change.type, change.name, *updates));
    }
    add_outcome(response, resource, outcome);
  }
  node.when_committed([response = std::move(response),
                       reply = std::move(reply)](const Result<>& committed) mutable {
    for (auto& out : response.responses) {
      if (!committed && out.error_code == ErrorCode::kNone) {
        out.error_code = committed.error().code;
        out.error_message = committed.error().why;
      }
    }
    reply.send(response);
  });
  node.raft_driver().arm();
}

// INVALID_REQUEST for a resource that is named twice.
template <class Request>
Result<> check_resource_change(RequestContext& context,
                               const typename Request::AlterConfigsResource& resource,
                               const std::multiset<std::pair<int8_t, std::string>>& named) {
  if (named.count(resource_key(resource)) > 1) {
    return fail(ErrorCode::kInvalidRequest, "Each resource must appear at most once.");
  }
  const ConfigChange change = to_change(resource);
  return check_at_broker(change, context.broker.config(),
                         context.broker.image()->config(change.type, change.name));
}

// Has the controller answer for the request, and puts what is answered for already, and where it
// stood, to it.
template <class Response, class Request>
void hand_on(RequestContext& context, const Request& request, Response response,
             std::vector<size_t> places, Reply<Response> reply) {
  const int16_t version = context.version;
  const auto key = static_cast<int16_t>(Request::kKey);
  const protocol::Bytes frame =
      request_frame(key, version, 0, [&request](protocol::Writer& out, int16_t in_version) {
        request.encode(out, in_version);
      }).flatten();
  forward(context.broker, frame.slice(4, frame.size() - 4),
          {context.client_host, context.listener_name},
          [key, version, response = std::move(response), places = std::move(places),
           reply = std::move(reply)](const Result<protocol::Bytes>& answer) mutable {
            Response rest;
            bool can_be_read = answer.has_value();
            if (can_be_read) {
              protocol::Reader in(*answer);
              skip_response_header(in, key, version);
              rest.decode(in, version);
              can_be_read = in.ok();
            }
            if (!can_be_read) {
              return reply.abandon();
            }
            for (size_t i = 0; i < places.size(); ++i) {
              const size_t at = std::min(places[i], rest.responses.size());
              rest.responses.insert(rest.responses.begin() + static_cast<ptrdiff_t>(at),
                                    std::move(response.responses[i]));
            }
            reply.send(rest);
          });
}

template <class Response, class Request>
void change_configs(RequestContext& context, Request request, Reply<Response> reply) {
  if (context.at_controller) {
    return context.broker.at_controller(
        [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
          change_configs_at_controller<Response>(node, request, std::move(reply));
        });
  }
  std::multiset<std::pair<int8_t, std::string>> named;
  for (const auto& resource : request.resources) {
    named.insert(resource_key(resource));
  }
  Response response;
  std::vector<size_t> places;
  size_t place = 0;
  std::erase_if(request.resources, [&](const auto& resource) {
    const auto checked = check_resource_change<Request>(context, resource, named);
    if (!checked) {
      add_outcome(response, resource, checked);
      places.push_back(place);
    }
    ++place;
    return !checked;
  });
  if (request.resources.empty()) {
    return reply.send(response);
  }
  hand_on(context, request, std::move(response), std::move(places), std::move(reply));
}

}  // namespace klamm::broker
