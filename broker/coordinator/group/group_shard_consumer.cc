// Requests of the consumer protocol (KIP-848).
#include <algorithm>

#include "broker/coordinator/group/consumer/consumer_records.h"
#include "broker/coordinator/group/group_requests.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Request = ConsumerGroupHeartbeatRequest;
using Response = ConsumerGroupHeartbeatResponse;

// What has to be there in a request, whatever the group.
Result<> check(const Request& request, int16_t version, const ConsumerSettings& settings) {
  constexpr int16_t kClientMakesId = 1;
  const auto invalid = [](const char* why) { return fail(ErrorCode::kInvalidRequest, why); };
  const bool needs_id =
      version >= kClientMakesId || request.member_epoch > 0 || request.member_epoch == kLeaveEpoch;
  if (needs_id && is_blank(request.member_id)) {
    return invalid("MemberId can't be empty.");
  }
  if (is_blank(request.group_id)) {
    return invalid("GroupId can't be empty.");
  }
  if (is_blank(request.instance_id)) {
    return invalid("InstanceId can't be empty.");
  }
  if (is_blank(request.rack_id)) {
    return invalid("RackId can't be empty.");
  }
  if (request.member_epoch == kJoinEpoch) {
    if (request.rebalance_timeout_ms == -1) {
      return invalid("RebalanceTimeoutMs must be given to join.");
    }
    if (!request.topic_partitions || !request.topic_partitions->empty()) {
      return invalid("TopicPartitions must be empty to join.");
    }
    if (!request.subscribed_topic_names && !request.subscribed_topic_regex) {
      return invalid("SubscribedTopicNames or SubscribedTopicRegex must be given to join.");
    }
  } else if (request.member_epoch == kLeaveStaticEpoch && !request.instance_id) {
    return invalid("InstanceId can't be null.");
  } else if (request.member_epoch < kLeaveStaticEpoch) {
    return invalid("MemberEpoch is invalid.");
  }
  if (request.server_assignor &&
      std::ranges::find(settings.assignors, *request.server_assignor) == settings.assignors.end()) {
    return fail(ErrorCode::kUnsupportedAssignor,
                "ServerAssignor " + *request.server_assignor + " is not supported.");
  }
  return {};
}

ReportedPartitions reported_by(const Request& request) {
  if (!request.topic_partitions) {
    return std::nullopt;
  }
  Assignment owned;
  for (const auto& topic : *request.topic_partitions) {
    owned[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
  }
  return owned;
}

ConsumerMember updated(ConsumerMember member, const Request& request, const ClientInfo& client) {
  if (request.instance_id) {
    member.instance_id = request.instance_id;
  }
  if (request.rack_id) {
    member.rack_id = request.rack_id;
  }
  if (request.rebalance_timeout_ms != -1) {
    member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  }
  if (request.server_assignor) {
    member.server_assignor = request.server_assignor;
  }
  if (request.subscribed_topic_names) {
    member.topics = {request.subscribed_topic_names->begin(),
                     request.subscribed_topic_names->end()};
  }
  if (request.subscribed_topic_regex) {
    member.regex = *request.subscribed_topic_regex;
  }
  member.client_id = client.client_id;
  member.client_host = client.client_host;
  member.classic.reset();
  return member;
}

Response::Assignment assignment_of(const OwnedPartitions& owned) {
  Response::Assignment assignment;
  for (const auto& [topic, partitions] : owned) {
    auto& out = assignment.topic_partitions.emplace_back();
    out.topic_id = topic;
    for (const auto& [partition, epoch] : partitions) {
      out.partitions.push_back(partition);
    }
  }
  return assignment;
}

}  // namespace

ConsumerSettings GroupShard::consumer_settings(const std::string& group_id,
                                               const replication::MetadataImage& image) const {
  ConsumerSettings settings = config_.consumer;
  const OwnConfig own(image, group_id);
  own.take("consumer.session.timeout.ms", settings.session_timeout_ms);
  own.take("consumer.heartbeat.interval.ms", settings.heartbeat_interval_ms);
  own.take("consumer.assignment.interval.ms", settings.assignment_interval_ms);
  return settings;
}

GroupShard::ConsumerView::ConsumerView(GroupShard& shard, const std::string& group_id,
                                       int64_t now_ms)
    : image(shard.surroundings_.image()),
      settings(shard.consumer_settings(group_id, *image)),
      context{*image, shard.hashes_, settings, now_ms} {
  context.topics_offset = shard.note_topics(*image);
  auto* const group = shard.find<ConsumerGroup>(group_id);
  context.metadata_changed = group == nullptr || group->notices(context.topics_offset);
}

Result<ConsumerDraft> GroupShard::open_consumer_group(const std::string& group_id, bool create,
                                                      const ConsumerContext& context) {
  Group* const group = find(group_id);
  if (const auto* const consumer = dynamic_cast<ConsumerGroup*>(group)) {
    return consumer->draft();
  }
  ConsumerDraft fresh{ConsumerState(group_id), {}};
  if (create && group == nullptr) {
    return fresh;
  }
  if (create && group->is_empty() && group->type() == GroupType::kClassic) {
    for (auto& record : tombstones(*group)) {
      fresh.emit(std::move(record));
    }
    return fresh;
  }
  if (auto* const classic = dynamic_cast<ClassicGroup*>(group); create && classic != nullptr) {
    TRY(auto draft, upgraded(*classic, config_.migration, context));
    classic->answer_all(ErrorCode::kRebalanceInProgress);
    return draft;
  }
  return fail(ErrorCode::kGroupIdNotFound, "There is no consumer group " + group_id + ".");
}

Result<Response> GroupShard::decide(ConsumerDraft& draft, const ConsumerContext& context,
                                    const Request& request, const ClientInfo& client) {
  ConsumerChange change(draft, context);
  const std::string member_id =
      request.member_id.empty() ? surroundings_.unique_suffix() : request.member_id;
  const auto reported = reported_by(request);
  const bool joins = request.member_epoch == kJoinEpoch;
  TRY(const ConsumerMember before,
      change.find_member({member_id, request.instance_id, request.member_epoch, joins}, reported));
  const ConsumerMember spoken = updated(before, request, client);
  TRY(const bool subscription_changed, change.update(before, spoken));
  change.assign();
  TRY(const ConsumerMember after, change.step(spoken, subscription_changed, reported));
  Response response;
  response.member_id = member_id;
  response.member_epoch = after.epoch;
  response.heartbeat_interval_ms =
      heartbeat_interval_ms(context.settings, draft.state.members().size());
  const bool is_full = request.rebalance_timeout_ms != -1 && reported &&
                       (request.subscribed_topic_names || request.subscribed_topic_regex);
  if (joins || is_full || after.assigned != before.assigned) {
    response.assignment = assignment_of(after.assigned);
  }
  return response;
}

void GroupShard::consumer_heartbeat(const Request& request, const ClientInfo& client,
                                    int64_t now_ms, Respond<Response> respond) {
  const ConsumerView view(*this, request.group_id, now_ms);
  if (const auto valid = check(request, client.version, view.settings); !valid) {
    return respond(refusal<Response>(valid.error()));
  }
  if (request.member_epoch < 0) {
    return consumer_leave(request, now_ms, std::move(respond));
  }
  auto draft =
      open_consumer_group(request.group_id, request.member_epoch == kJoinEpoch, view.context);
  if (!draft) {
    return respond(refusal<Response>(draft.error()));
  }
  const auto response = decide(*draft, view.context, request, client);
  if (!response) {
    return respond(refusal<Response>(response.error()));
  }
  write(std::move(draft->records),
        [respond = copyable(std::move(respond)), response = *response](ErrorCode code) {
          respond(code == ErrorCode::kNone ? response : Response{.error_code = code});
        });
  if (auto* const group = find<ConsumerGroup>(request.group_id)) {
    group->touch(*response->member_id, view.settings.session_timeout_ms, now_ms);
    group->start_sessions(view.settings, now_ms);
  }
  reschedule(request.group_id);
}

void GroupShard::consumer_leave(const Request& request, int64_t now_ms, Respond<Response> respond) {
  auto* const group = find<ConsumerGroup>(request.group_id);
  if (group == nullptr) {
    return respond({.error_code = ErrorCode::kGroupIdNotFound,
                    .error_message = "There is no consumer group " + request.group_id + "."});
  }
  const ConsumerMember* const member = request.instance_id
                                           ? group->state().static_member(*request.instance_id)
                                           : group->state().member(request.member_id);
  if (member == nullptr) {
    return respond({.error_code = ErrorCode::kUnknownMemberId,
                    .error_message = "The member is not in the group."});
  }
  if (member->id != request.member_id) {
    return respond({.error_code = ErrorCode::kFencedInstanceId,
                    .error_message = "The instance id is that of another member now."});
  }
  Response response{.member_id = request.member_id, .member_epoch = request.member_epoch};
  auto done = [respond = copyable(std::move(respond)), response](ErrorCode code) {
    respond(code == ErrorCode::kNone ? response : Response{.error_code = code});
  };
  if (!request.instance_id || request.member_epoch != kLeaveStaticEpoch) {
    return fence(request.group_id, {member->id}, now_ms, std::move(done));
  }
  // It will be back and take over what it had, which counts as assigned to whoever it is then.
  ConsumerMember leaving = *member;
  leaving.epoch = kLeaveStaticEpoch;
  leaving.pending_revocation.clear();
  for (auto& [topic, partitions] : leaving.assigned) {
    for (auto& [partition, epoch] : partitions) {
      epoch = 0;
    }
  }
  write({consumer_current_record(request.group_id, leaving)}, std::move(done));
}

void GroupShard::fence(const std::string& group_id, const std::set<std::string>& member_ids,
                       int64_t now_ms, std::function<void(ErrorCode)> done) {
  auto* const group = find<ConsumerGroup>(group_id);
  if (group == nullptr || member_ids.empty()) {
    return done(ErrorCode::kNone);
  }
  const ConsumerView view(*this, group_id, now_ms);
  if (turns_classic(group->state(), member_ids, config_.migration, config_.classic.members_max)) {
    write(downgraded(group->state(), member_ids, *view.image, now_ms), std::move(done));
    return became_classic(group_id, true, now_ms);
  }
  ConsumerDraft draft = group->draft();
  ConsumerChange(draft, view.context).remove(member_ids);
  write(std::move(draft.records), std::move(done));
  reschedule(group_id);
}

void GroupShard::became_classic(const std::string& group_id, bool rebalance, int64_t now_ms) {
  if (auto* const group = find<ClassicGroup>(group_id)) {
    group->start_sessions(now_ms);
    if (rebalance) {
      group->maybe_prepare_rebalance(now_ms);
    }
  }
  reschedule(group_id);
}

Result<ConsumerGroupDescribeResponse::DescribedGroup> GroupShard::describe_consumer_group(
    const std::string& group_id) const {
  const auto* const group = find<ConsumerGroup>(group_id);
  if (group == nullptr) {
    return fail(ErrorCode::kGroupIdNotFound, "There is no consumer group " + group_id + ".");
  }
  const auto image = surroundings_.image();
  return group->describe(consumer_settings(group_id, *image), *image);
}

}  // namespace klamm::broker
