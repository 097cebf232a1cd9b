#pragma once
// What consumers of the classic protocol say to each other through the coordinator: subscriptions
// and assignments, opaque to the group but not to one that changes protocols (KIP-848).
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "broker/coordinator/group/assignment/assignor.h"
#include "protocol/base/bytes.h"
#include "protocol/generated/consumer_protocol_subscription.h"
#include "protocol/generated/join_group_request.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

inline constexpr const char* kConsumerProtocolType = "consumer";

struct Subscription {
  int16_t version = 0;
  protocol::ConsumerProtocolSubscription content;
};

// nullopt when it is malformed.
std::optional<Subscription> read_subscription(const protocol::Bytes& metadata);

// The partitions of an assignment, by topics that exist; empty for empty bytes. nullopt when it is
// malformed, or has data of an assignor's own that would be lost.
std::optional<Assignment> read_assignment(const protocol::Bytes& assignment,
                                          const replication::MetadataImage& image);
protocol::Bytes write_assignment(const Assignment& assignment, int16_t version,
                                 const replication::MetadataImage& image);

// The protocol that most members have first among those that all have; each member's are in its
// order of preference. Empty when they have none in common.
std::string choose_protocol(const std::vector<std::vector<std::string>>& protocols_of_members);
// Whether the newcomer speaks one that all members speak, as `speaks(member, protocol)` tells.
template <class Members, class Speaks>
bool has_common_protocol(const protocol::JoinGroupRequest& newcomer, const Members& members,
                         const Speaks& speaks) {
  return std::ranges::any_of(newcomer.protocols, [&](const auto& protocol) {
    return std::ranges::all_of(members,
                               [&](const auto& member) { return speaks(member, protocol.name); });
  });
}

}  // namespace klamm::broker
