#include "broker/coordinator/group/consumer/migration.h"

#include "broker/coordinator/group/classic/consumer_protocol.h"
#include "broker/coordinator/group/consumer/consumer_records.h"
#include "broker/coordinator/group/records.h"

namespace klamm::broker {
namespace {

struct Upgraded {
  ConsumerMember member;
  Assignment target;
};

Result<Upgraded> upgrade(const ClassicMember& from, const ClassicGroup& group,
                         const std::string& protocol, const replication::MetadataImage& image) {
  const Bytes* const metadata = from.metadata(protocol);
  const auto subscription = metadata == nullptr ? std::nullopt : read_subscription(*metadata);
  auto target = read_assignment(from.assignment, image);
  if (!subscription || !target) {
    return fail(ErrorCode::kGroupIdNotFound,
                "Classic group " + group.id() +
                    " cannot become a consumer group: what its consumers say to each other cannot "
                    "be read, or would be lost.");
  }
  Upgraded out;
  ConsumerMember& member = out.member;
  member.id = from.id;
  member.epoch = group.generation();
  member.previous_epoch = group.generation();
  member.instance_id = from.instance_id;
  member.rack_id = subscription->content.rack_id;
  member.rebalance_timeout_ms = from.rebalance_timeout_ms;
  member.client_id = from.client_id;
  member.client_host = from.client_host;
  member.topics = {subscription->content.topics.begin(), subscription->content.topics.end()};
  for (const auto& [topic, partitions] : *target) {
    for (const int32_t partition : partitions) {
      member.assigned[topic][partition] = group.generation();
    }
  }
  member.classic.emplace();
  member.classic->session_timeout_ms = from.session_timeout_ms;
  for (const auto& [name, bytes] : from.protocols) {
    member.classic->supported_protocols.push_back({.name = name, .metadata = bytes});
  }
  out.target = std::move(*target);
  return out;
}

Result<> check_upgrade(const ClassicGroup& group, const MigrationPolicy& policy,
                       const ConsumerContext& context) {
  const char* const obstacle = !policy.upgrade            ? "online upgrade is disabled"
                               : !group.is_of_consumers() ? "its members are no consumers"
                               : group.members().size() > context.settings.members_max
                                   ? "it has too many members"
                                   : nullptr;
  return obstacle == nullptr ? Result<>()
                             : fail(ErrorCode::kGroupIdNotFound,
                                    "Classic group " + group.id() +
                                        " cannot become a consumer group: " + obstacle + ".");
}

}  // namespace

Result<ConsumerDraft> upgraded(const ClassicGroup& group, const MigrationPolicy& policy,
                               const ConsumerContext& context) {
  TRY_VOID(check_upgrade(group, policy, context));
  const std::string protocol = group.protocol_name().empty()
                                   ? choose_protocol(group.protocols_of_members())
                                   : group.protocol_name();
  std::vector<Upgraded> members;
  for (const auto& [id, member] : group.members()) {
    TRY(auto each, upgrade(member, group, protocol, context.image));
    members.push_back(std::move(each));
  }
  ConsumerDraft draft{ConsumerState(group.id()), {}};
  draft.emit(group_tombstone(group.id()));
  for (const auto& each : members) {
    draft.emit(consumer_member_record(group.id(), each.member));
  }
  const int64_t hash = context.hashes.of(draft.state.subscribed_topics(), context.image);
  draft.emit(consumer_group_record(group.id(), group.generation(), hash));
  for (const auto& each : members) {
    draft.emit(consumer_target_record(group.id(), each.member.id, each.target));
  }
  draft.emit(consumer_target_epoch_record(group.id(), group.generation(), 0));
  for (const auto& each : members) {
    draft.emit(consumer_current_record(group.id(), each.member));
  }
  return draft;
}

bool turns_classic(const ConsumerState& group, const std::set<std::string>& leaving,
                   const MigrationPolicy& policy, size_t classic_members_max) {
  const size_t left = group.members().size() - leaving.size();
  return policy.downgrade && left > 0 && left <= classic_members_max &&
         group.all_classic_without(leaving);
}

std::vector<CoordinatorRecord> downgraded(const ConsumerState& group,
                                          const std::set<std::string>& leaving,
                                          const replication::MetadataImage& image, int64_t now_ms) {
  std::vector<std::vector<std::string>> protocols;
  for (const auto& [id, member] : group.members()) {
    if (!leaving.contains(id)) {
      auto& names = protocols.emplace_back();
      for (const auto& protocol : member->classic->supported_protocols) {
        names.push_back(protocol.name);
      }
    }
  }
  protocol::GroupMetadataValue value;
  value.protocol_type = kConsumerProtocolType;
  value.generation = group.epoch();
  value.leader.reset();
  value.protocol = choose_protocol(protocols);
  value.current_state_timestamp = now_ms;
  for (const auto& [id, member] : group.members()) {
    if (leaving.contains(id)) {
      continue;
    }
    auto& out = value.members.emplace_back();
    out.member_id = id;
    out.group_instance_id = member->instance_id;
    out.client_id = member->client_id;
    out.client_host = member->client_host;
    out.rebalance_timeout = member->rebalance_timeout_ms;
    out.session_timeout = member->classic->session_timeout_ms;
    for (const auto& protocol : member->classic->supported_protocols) {
      if (protocol.name == value.protocol) {
        out.subscription = protocol.metadata;
      }
    }
    const auto subscription = read_subscription(out.subscription);
    out.assignment =
        write_assignment(group.target(id), subscription ? subscription->version : 0, image);
    if (!value.leader) {
      value.leader = id;
    }
  }
  auto records = consumer_group_tombstones(group);
  records.push_back(group_record(group.id(), value));
  return records;
}

}  // namespace klamm::broker
