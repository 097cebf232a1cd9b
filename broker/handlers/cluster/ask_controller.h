#pragma once
// What the requests to the active controller have in common: they are answered on its shard, and
// Raft is given its next deadline.
#include "broker/cluster/controller.h"
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"

namespace klamm::broker {

// Has Controller::handle answer.
template <class Request, class Response>
void ask_controller(RequestContext& context, Request&& request, Reply<Response> reply) {
  context.broker.at_controller(
      [request = std::forward<Request>(request), reply = std::move(reply)](Node& node) mutable {
        const int16_t version = reply.version();
        node.controller().handle(
            request, version,
            [reply = std::move(reply)](const Response& response) mutable { reply.send(response); });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
