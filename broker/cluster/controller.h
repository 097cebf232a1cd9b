#pragma once
// The controller's side of what brokers ask of it, on the node whose Raft leads: registrations,
// heartbeats, ISR changes, blocks of producer ids, directories. The decisions are pure functions in
// replication/controller; this appends their records and answers when they are committed. Lives on
// the controller's shard.
#include <functional>
#include <optional>

#include "broker/timers.h"
#include "protocol/generated/allocate_producer_ids_request.h"
#include "protocol/generated/allocate_producer_ids_response.h"
#include "protocol/generated/alter_partition_request.h"
#include "protocol/generated/alter_partition_response.h"
#include "protocol/generated/assign_replicas_to_dirs_request.h"
#include "protocol/generated/assign_replicas_to_dirs_response.h"
#include "protocol/generated/broker_heartbeat_request.h"
#include "protocol/generated/broker_heartbeat_response.h"
#include "protocol/generated/broker_registration_request.h"
#include "protocol/generated/broker_registration_response.h"
#include "protocol/generated/controller_registration_request.h"
#include "protocol/generated/controller_registration_response.h"
#include "protocol/generated/unregister_broker_request.h"
#include "protocol/generated/unregister_broker_response.h"
#include "replication/controller/brokers.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

class Controller {
 public:
  template <class Response>
  using Answer = std::move_only_function<void(Response)>;

  // `balance_every_ms`: how often the lead is given back to first replicas; 0 for never.
  Controller(replication::Quorum& quorum, std::string cluster_id, int32_t node_id,
             int64_t session_timeout_ms, int64_t balance_every_ms, Timers& timers,
             const storage::Clock& clock)
      : quorum_(quorum),
        cluster_id_(std::move(cluster_id)),
        brokers_(node_id, session_timeout_ms),
        balance_every_ms_(balance_every_ms),
        timers_(timers),
        clock_(clock) {}

  // This node has begun or ceased to be the active controller.
  void on_leadership();

  // The process of a broker is gone.
  void on_gone(int32_t broker, int64_t epoch);

  // All answer NOT_CONTROLLER where this node is not active.
  void handle(const protocol::BrokerRegistrationRequest& request, int16_t version,
              Answer<protocol::BrokerRegistrationResponse> answer);
  void handle(const protocol::BrokerHeartbeatRequest& request, int16_t version,
              Answer<protocol::BrokerHeartbeatResponse> answer);
  void handle(const protocol::ControllerRegistrationRequest& request, int16_t version,
              Answer<protocol::ControllerRegistrationResponse> answer);
  void handle(const protocol::AlterPartitionRequest& request, int16_t version,
              Answer<protocol::AlterPartitionResponse> answer);
  void handle(const protocol::AllocateProducerIdsRequest& request, int16_t version,
              Answer<protocol::AllocateProducerIdsResponse> answer);
  void handle(const protocol::AssignReplicasToDirsRequest& request, int16_t version,
              Answer<protocol::AssignReplicasToDirsResponse> answer);
  void handle(const protocol::UnregisterBrokerRequest& request, int16_t version,
              Answer<protocol::UnregisterBrokerResponse> answer);

 private:
  template <class Response>
  void commit(const std::vector<protocol::Bytes>& records, Response response,
              Answer<Response> answer);
  void watch_sessions();
  void balance_leaders();

  replication::Quorum& quorum_;
  std::string cluster_id_;
  replication::Brokers brokers_;
  int64_t balance_every_ms_;
  Timers& timers_;
  const storage::Clock& clock_;
  bool was_active_ = false;
  std::optional<Timers::Id> timer_;
  std::optional<Timers::Id> balance_timer_;
};

}  // namespace klamm::broker
