// ShareAcknowledge (key 79), v1-2 (KIP-932).   v2: locks can be renewed (KIP-1222).   Answered when
// what was acknowledged is kept by the share coordinator.
#include "broker/cluster/broker_address.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/share/acknowledging.h"
#include "protocol/generated/share_acknowledge_request.h"
#include "protocol/generated/share_acknowledge_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithRenewal = 2;

struct Acknowledging {
  Broker& broker;
  std::string listener;
  ShareSessions::Owner owner;
  bool is_last;
  Reply<ShareAcknowledgeResponse> reply;

  void answer(const std::vector<AckOutcome>& outcomes) {
    ShareAcknowledgeResponse response;
    response.acquisition_lock_timeout_ms = share_limits(broker, owner.first).lock_ms;
    for (const auto& outcome : outcomes) {
      if (response.responses.empty() ||
          response.responses.back().topic_id != outcome.key.topic_id) {
        response.responses.push_back({.topic_id = outcome.key.topic_id});
      }
      auto& partition = response.responses.back().partitions.emplace_back();
      partition.partition_index = outcome.key.partition;
      partition.error_code = outcome.error;
      partition.error_message = text_or_null(outcome.why);
      name_leader(broker, listener, outcome.key, response, partition);
    }
    if (is_last) {
      broker.shares().close_session(owner);
    }
    reply.send(response);
  }
};

}  // namespace

void handle(RequestContext& context, ShareAcknowledgeRequest&& request,
            Reply<ShareAcknowledgeResponse> reply) {
  Broker& broker = context.broker;
  const auto refuse = [&](ErrorCode code, const std::string& why = {}) {
    reply.send({.error_code = code, .error_message = text_or_null(why)});
  };
  if (!serves_share_groups(broker)) {
    return refuse(ErrorCode::kUnsupportedVersion);
  }
  if (!request.group_id || !request.member_id || request.member_id->empty()) {
    return refuse(ErrorCode::kInvalidRequest, "The group or the member is not named.");
  }
  const ShareSessions::Owner owner{*request.group_id, *request.member_id};
  const auto session = broker.shares().sessions().acknowledge(owner, request.share_session_epoch);
  if (!session) {
    return refuse(session.error().code, session.error().why);
  }
  const bool may_renew = context.version >= kVersionWithRenewal && request.is_renew_ack;
  acknowledge_all(
      broker, take_acks(request, true), owner.second, may_renew,
      [open = Acknowledging{broker, context.listener_name, owner,
                            request.share_session_epoch == kFinalShareEpoch, std::move(reply)}](
          const auto& outcomes) mutable { open.answer(outcomes); });
}

}  // namespace klamm::broker
