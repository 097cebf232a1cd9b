// Requests of share groups (KIP-932).
#include <algorithm>

#include "broker/coordinator/group/consumer/consumer_change.h"
#include "broker/coordinator/group/group_requests.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Request = ShareGroupHeartbeatRequest;
using Response = ShareGroupHeartbeatResponse;

Result<> check(const Request& request) {
  const auto invalid = [](const char* why) { return fail(ErrorCode::kInvalidRequest, why); };
  if (is_blank(request.member_id)) {
    return invalid("MemberId can't be empty.");
  }
  if (is_blank(request.group_id)) {
    return invalid("GroupId can't be empty.");
  }
  if (is_blank(request.rack_id)) {
    return invalid("RackId can't be empty.");
  }
  if (request.member_epoch == kJoinEpoch && !request.subscribed_topic_names) {
    return invalid("SubscribedTopicNames must be given to join.");
  }
  if (request.member_epoch < kLeaveEpoch) {
    return invalid("MemberEpoch is invalid.");
  }
  return {};
}

void add(const std::map<Uuid, NamedPartitions>& more, std::map<Uuid, NamedPartitions>& to) {
  for (const auto& [topic, named] : more) {
    to[topic].name = named.name;
    to[topic].partitions.insert(named.partitions.begin(), named.partitions.end());
  }
}

void take(const std::map<Uuid, NamedPartitions>& away, std::map<Uuid, NamedPartitions>& from) {
  for (const auto& [topic, named] : away) {
    const auto known = from.find(topic);
    if (known == from.end()) {
      continue;
    }
    for (const int32_t partition : named.partitions) {
      known->second.partitions.erase(partition);
    }
    if (known->second.partitions.empty()) {
      from.erase(known);
    }
  }
}

// All of them at the offset that the group's configuration says, once they are first read.
ShareStarts undecided(const std::map<Uuid, NamedPartitions>& partitions) {
  constexpr int64_t kUndecided = -1;
  ShareStarts starts;
  for (const auto& [topic, named] : partitions) {
    for (const int32_t partition : named.partitions) {
      starts[{topic, partition}] = kUndecided;
    }
  }
  return starts;
}

}  // namespace

ShareGroupSettings GroupShard::share_settings(const std::string& group_id,
                                              const replication::MetadataImage& image) const {
  ShareGroupSettings settings = config_.share;
  const OwnConfig own(image, group_id);
  own.take("share.session.timeout.ms", settings.session_timeout_ms);
  own.take("share.heartbeat.interval.ms", settings.heartbeat_interval_ms);
  own.take("share.assignment.interval.ms", settings.assignment_interval_ms);
  return settings;
}

GroupShard::ShareView::ShareView(GroupShard& shard, const std::string& group_id, int64_t now_ms)
    : image(shard.surroundings_.image()),
      settings(shard.share_settings(group_id, *image)),
      context{*image, shard.hashes_, settings, now_ms} {
  const int64_t offset = shard.note_topics(*image);
  auto* const group = shard.find<ShareGroup>(group_id);
  context.metadata_changed = group == nullptr || group->notices(offset);
}

void GroupShard::share_heartbeat(const Request& request, const ClientInfo& client, int64_t now_ms,
                                 Respond<Response> respond) {
  if (const auto valid = check(request); !valid) {
    return respond(refusal<Response>(valid.error()));
  }
  if (request.member_epoch == kLeaveEpoch) {
    return share_leave(request, now_ms, std::move(respond));
  }
  const Group* const known = find(request.group_id);
  const auto* const group = dynamic_cast<const ShareGroup*>(known);
  if (group == nullptr && (known != nullptr || request.member_epoch != kJoinEpoch)) {
    return respond(refusal<Response>(
        {ErrorCode::kGroupIdNotFound, "There is no share group " + request.group_id + "."}));
  }
  take_share_member(request, client, {}, now_ms, std::move(respond));
}

void GroupShard::take_share_member(const Request& request, const ClientInfo& client, ShareTurn turn,
                                   int64_t now_ms, Respond<Response> respond) {
  auto* const known = find<ShareGroup>(request.group_id);
  ShareView view(*this, request.group_id, now_ms);
  ShareDraft draft =
      known == nullptr ? ShareDraft{ShareGroupState(request.group_id), {}} : known->draft();
  const auto taken =
      take_share_heartbeat(draft, view.context, request, client.client_id, client.client_host);
  if (!taken) {
    return respond(refusal<Response>(taken.error()));
  }
  const auto& [before, after] = *taken;
  const auto fresh = turn.may_initialize && !initializing_.contains(request.group_id)
                         ? uninitialized(draft.state, *view.image)
                         : std::map<Uuid, NamedPartitions>();
  if (!fresh.empty()) {
    // From now on, not from when it is written: of two at once the share coordinator fences one.
    initializing_.insert(request.group_id);
    SharedPartitions shared = draft.state.shared();
    add(fresh, shared.initializing);
    for (auto* const known : {&shared.initializing, &shared.initialized}) {
      std::erase_if(*known,
                    [&](const auto& each) { return view.image->topic(each.first) == nullptr; });
    }
    draft.emit(share_partitions_record(request.group_id, shared));
  }
  Response response;
  response.member_id = after.id;
  response.member_epoch = after.epoch;
  response.heartbeat_interval_ms = view.settings.heartbeat_interval_ms.value_or(
      heartbeat_interval_ms({}, draft.state.members().size()));
  if (turn.tells_assignment || request.member_epoch == kJoinEpoch ||
      request.subscribed_topic_names || after.assigned != before.assigned) {
    response.assignment.emplace();
    for (const auto& [topic, partitions] : after.assigned) {
      response.assignment->topic_partitions.push_back(
          {.topic_id = topic, .partitions = {partitions.begin(), partitions.end()}});
    }
  }
  const int32_t state_epoch = draft.state.epoch();
  auto answer = copyable(std::move(respond));
  write(std::move(draft.records), [this, alive = std::weak_ptr(alive_), request, client, response,
                                   fresh, state_epoch, now_ms, answer](ErrorCode code) {
    if (code != ErrorCode::kNone) {
      if (!fresh.empty() && !alive.expired()) {
        initializing_.erase(request.group_id);
      }
      return answer(Response{.error_code = code});
    }
    if (fresh.empty() || alive.expired()) {
      return answer(response);
    }
    // Then it is taken once more: there are partitions to be assigned now. If not, the member was
    // taken all the same, and its next heartbeat tries again.
    initialize_shared(request.group_id, state_epoch, fresh, [=, this](ErrorCode outcome) {
      if (outcome != ErrorCode::kNone || alive.expired()) {
        return answer(response);
      }
      take_share_member(request, client, {false, response.assignment.has_value()}, now_ms, answer);
    });
  });
  if (auto* const group = find<ShareGroup>(request.group_id)) {
    group->touch(request.member_id, view.settings.session_timeout_ms, now_ms);
  }
  reschedule(request.group_id);
}

// Has the share coordinator begin to keep state of the partitions, and notes that it does.
void GroupShard::initialize_shared(const std::string& group_id, int32_t state_epoch,
                                   const std::map<Uuid, NamedPartitions>& fresh,
                                   const std::function<void(ErrorCode)>& done) {
  surroundings_.initialize_shared(
      group_id, state_epoch, undecided(fresh),
      [this, alive = std::weak_ptr(alive_), group_id, fresh, done](ErrorCode code) {
        if (alive.expired()) {
          return done(ErrorCode::kNotCoordinator);
        }
        initializing_.erase(group_id);
        const auto* const group = find<ShareGroup>(group_id);
        if (group == nullptr) {
          return done(ErrorCode::kGroupIdNotFound);
        }
        SharedPartitions shared = group->state().shared();
        take(fresh, shared.initializing);
        if (code == ErrorCode::kNone) {
          add(fresh, shared.initialized);
        }
        write({share_partitions_record(group_id, shared)},
              [code, done](ErrorCode written) { done(code == ErrorCode::kNone ? written : code); });
      });
}

void GroupShard::share_leave(const Request& request, int64_t now_ms, Respond<Response> respond) {
  const auto* const group = find<ShareGroup>(request.group_id);
  if (group == nullptr || group->state().member(request.member_id) == nullptr) {
    return respond(refusal<Response>(
        {group == nullptr ? ErrorCode::kGroupIdNotFound : ErrorCode::kUnknownMemberId,
         "There is no such group, or no such member."}));
  }
  const Response response{.member_id = request.member_id, .member_epoch = kLeaveEpoch};
  fence_share_members(request.group_id, {request.member_id}, now_ms,
                      [respond = copyable(std::move(respond)), response](ErrorCode code) {
                        respond(code == ErrorCode::kNone ? response : Response{.error_code = code});
                      });
}

void GroupShard::fence_share_members(const std::string& group_id,
                                     const std::set<std::string>& member_ids, int64_t now_ms,
                                     std::function<void(ErrorCode)> done) {
  auto* const group = find<ShareGroup>(group_id);
  if (group == nullptr || member_ids.empty()) {
    return done(ErrorCode::kNone);
  }
  const ShareView view(*this, group_id, now_ms);
  ShareDraft draft = group->draft();
  remove_share_members(draft, view.context, member_ids);
  write(std::move(draft.records), std::move(done));
  reschedule(group_id);
}

Result<ShareGroupDescribeResponse::DescribedGroup> GroupShard::describe_share_group(
    const std::string& group_id) const {
  const auto* const group = find<ShareGroup>(group_id);
  if (group == nullptr) {
    return fail(ErrorCode::kGroupIdNotFound, "There is no share group " + group_id + ".");
  }
  return group->describe(*surroundings_.image());
}

void GroupShard::alter_share_offsets(const std::string& group_id, const ShareStarts& starts,
                                     Respond<ErrorCode> respond) {
  const Group* const known = find(group_id);
  const auto* const group = dynamic_cast<const ShareGroup*>(known);
  if (known != nullptr && group == nullptr) {
    return respond(ErrorCode::kGroupIdNotFound);
  }
  if (group != nullptr && !group->is_empty()) {
    return respond(ErrorCode::kNonEmptyGroup);
  }
  const auto image = surroundings_.image();
  SharedPartitions shared = group == nullptr ? SharedPartitions() : group->state().shared();
  for (const auto& [place, offset] : starts) {
    auto& named = shared.initialized[place.first];
    named.name = image->topic(place.first)->name;
    named.partitions.insert(place.second);
  }
  const int32_t epoch =
      group == nullptr ? ShareGroupState(group_id).epoch() : group->state().epoch();
  // The state first: what the group is noted to have must be there.
  surroundings_.initialize_shared(
      group_id, epoch, starts,
      [this, alive = std::weak_ptr(alive_), group_id, shared,
       answer = copyable(std::move(respond))](ErrorCode code) {
        if (code != ErrorCode::kNone || alive.expired()) {
          return answer(code == ErrorCode::kNone ? ErrorCode::kNotCoordinator : code);
        }
        write({share_partitions_record(group_id, shared)}, answer);
      });
}

void GroupShard::delete_share_offsets(const std::string& group_id, const std::set<Uuid>& topics,
                                      Respond<ErrorCode> respond) {
  const auto* const group = find<ShareGroup>(group_id);
  if (group == nullptr) {
    return respond(ErrorCode::kGroupIdNotFound);
  }
  if (!group->is_empty()) {
    return respond(ErrorCode::kNonEmptyGroup);
  }
  SharedPartitions shared = group->state().shared();
  ShareStarts places;
  for (const Uuid& topic : topics) {
    for (auto* const known : {&shared.initialized, &shared.initializing}) {
      if (const auto found = known->find(topic); found != known->end()) {
        for (const auto& [place, offset] : undecided({*found})) {
          places[place] = offset;
        }
        known->erase(found);
      }
    }
  }
  surroundings_.remove_shared(
      group_id, places,
      [this, alive = std::weak_ptr(alive_), group_id, shared,
       answer = copyable(std::move(respond))](ErrorCode code) {
        if (code != ErrorCode::kNone || alive.expired()) {
          return answer(code == ErrorCode::kNone ? ErrorCode::kNotCoordinator : code);
        }
        write({share_partitions_record(group_id, shared)}, answer);
      });
}

void GroupShard::remove_share_group(const ShareGroup& group, Respond<ErrorCode> respond) {
  ShareStarts places = undecided(group.state().shared().initialized);
  places.merge(undecided(group.state().shared().initializing));
  surroundings_.remove_shared(
      group.state().id(), places,
      [this, alive = std::weak_ptr(alive_), group_id = group.state().id(),
       answer = copyable(std::move(respond))](ErrorCode code) {
        const auto* const left = alive.expired() ? nullptr : find<ShareGroup>(group_id);
        if (code != ErrorCode::kNone || left == nullptr) {
          return answer(code == ErrorCode::kNone ? ErrorCode::kNotCoordinator
                                                 : ErrorCode::kGroupDeletionFailed);
        }
        write(tombstones(*left), answer);
      });
}

}  // namespace klamm::broker
