// FetchSnapshot (key 59), v0-1: a piece of a snapshot of the metadata log (KIP-630).
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/fetch_snapshot_request.h"
#include "protocol/generated/fetch_snapshot_response.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;

void handle(RequestContext& context, FetchSnapshotRequest&& request,
            Reply<FetchSnapshotResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        reply.send(node.quorum().raft().fetch_snapshot(request));
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
