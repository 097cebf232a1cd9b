#pragma once
// The brokers of the cluster as the active controller sees them: who is registered, who still
// sends heartbeats, who is fenced (KIP-500, KIP-631). Requests and the time go in, records come
// out; what the records do not hold (when a broker was last heard of) starts anew with each
// controller.
#include <map>
#include <optional>
#include <vector>

#include "protocol/generated/broker_heartbeat_request.h"
#include "protocol/generated/broker_heartbeat_response.h"
#include "protocol/generated/broker_registration_request.h"
#include "protocol/generated/controller_registration_request.h"
#include "replication/controller/elections.h"

namespace klamm::replication {

class Brokers {
 public:
  // `self`: the broker in the controller's own process, which is alive as long as this is.
  Brokers(int32_t self, int64_t session_timeout_ms)
      : self_(self), session_timeout_ms_(session_timeout_ms) {}

  // A new controller gives everybody a session's time.
  void begin(const MetadataImage& image, int64_t now_ms);

  // `epoch`: the offset that the next record gets. DUPLICATE_BROKER_REGISTRATION while another
  // process of this id is alive, INCONSISTENT_CLUSTER_ID, INVALID_REGISTRATION,
  // UNSUPPORTED_VERSION.
  struct Registered {
    int64_t epoch;
    std::vector<Bytes> records;
  };
  Result<Registered> enter(const MetadataImage& image, const std::string& cluster_id,
                           const protocol::BrokerRegistrationRequest& request, int64_t epoch,
                           int64_t now_ms);

  // STALE_BROKER_EPOCH, BROKER_ID_NOT_REGISTERED.
  struct Beat {
    protocol::BrokerHeartbeatResponse response;
    std::vector<Bytes> records;
  };
  Beat heartbeat(const MetadataImage& image, const protocol::BrokerHeartbeatRequest& request,
                 int64_t now_ms);

  // A broker whose session is over, and when the next one will be.
  std::optional<int32_t> expired(const MetadataImage& image, int64_t now_ms) const;
  int64_t next_expiry_ms(const MetadataImage& image) const;
  std::vector<Bytes> fence(const MetadataImage& image, int32_t broker);
  // Forgets a broker, whose replicas stay assigned. BROKER_ID_NOT_REGISTERED.
  Result<std::vector<Bytes>> unregister(const MetadataImage& image, int32_t broker);

 private:
  struct Session {
    int64_t heard_ms = 0;
    int64_t metadata_offset = -1;
    int64_t shutdown_offset = -1;  // what others must have seen before it may go
  };
  std::vector<Bytes> change(const MetadataImage& image, int32_t broker, int8_t fenced,
                            int8_t shutdown) const;
  bool may_expire(const MetadataImage& image, int32_t broker) const;
  bool is_alive(int32_t broker, int64_t now_ms) const;
  std::vector<Bytes> stop(const MetadataImage& image, int32_t broker, int64_t offset,
                          protocol::BrokerHeartbeatResponse& response);
  int64_t lowest_offset(const MetadataImage& image) const;

  int32_t self_;
  int64_t session_timeout_ms_;
  std::map<int32_t, Session> sessions_;
};

// The record of a controller, or none when it stands there already.
std::vector<Bytes> register_controller(const MetadataImage& image,
                                       const protocol::ControllerRegistrationRequest& request);

}  // namespace klamm::replication
