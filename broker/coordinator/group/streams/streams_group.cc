#include "broker/coordinator/group/streams/streams_group.h"

#include <algorithm>

namespace klamm::broker {

using namespace protocol;

void StreamsGroup::apply(const CoordinatorRecord& record) {
  state_.apply(record);
  if (static_cast<StreamsRecord>(Reader(record.key).fixed<int16_t>()) == StreamsRecord::kTopology) {
    configured_ = nullptr;
  }
  if (!record.value) {
    const auto is_gone = [&](const auto& each) { return state_.member(each.first) == nullptr; };
    std::erase_if(times_, is_gone);
    std::erase_if(offsets_, is_gone);
  }
  if (state_.members().empty()) {
    shutdown_by_.reset();
  }
}

std::string_view StreamsGroup::state_name() const {
  if (state_.members().empty()) {
    return "Empty";
  }
  if (state_.topology() == nullptr ||
      state_.topology()->epoch != state_.validated_topology_epoch()) {
    return "NotReady";
  }
  if (state_.epoch() > state_.assignment_epoch()) {
    return "Assigning";
  }
  const bool settled = std::ranges::all_of(state_.members(), [&](const auto& each) {
    return state_.is_stable_at(*each.second, state_.assignment_epoch());
  });
  return settled ? "Stable" : "Reconciling";
}

bool StreamsGroup::is_subscribed(const std::string& topic) const {
  return !is_empty() && state_.topology() != nullptr &&
         reader_of(*state_.topology(), topic) != nullptr;
}

void StreamsGroup::add_tombstones(std::vector<CoordinatorRecord>& records) const {
  for (const auto type :
       {StreamsRecord::kTargetEpoch, StreamsRecord::kGroup, StreamsRecord::kTopology}) {
    records.push_back(streams_tombstone(type, state_.id()));
  }
}

std::optional<int64_t> StreamsGroup::next_deadline() const {
  std::optional<int64_t> first = delayed_until_;
  for (const auto& [id, times] : times_) {
    first = first ? std::min(*first, times.first()) : times.first();
  }
  return first;
}

void StreamsGroup::touch(const std::string& member_id, int32_t session_timeout_ms, int64_t now_ms) {
  const StreamsMember* const member = state_.member(member_id);
  if (member == nullptr) {
    return;
  }
  MemberTimes& times = times_[member_id];
  times.session = now_ms + session_timeout_ms;
  if (member->state != StreamsMemberState::kUnrevokedTasks) {
    times.revocation.reset();
  } else if (!times.revocation || times.revocation_epoch != member->epoch) {
    times.revocation = now_ms + member->rebalance_timeout_ms;
    times.revocation_epoch = member->epoch;
  }
}

void StreamsGroup::start_sessions(int32_t session_timeout_ms, int64_t now_ms) {
  for (const auto& [id, member] : state_.members()) {
    if (!times_.contains(id)) {
      touch(id, session_timeout_ms, now_ms);
    }
  }
}

std::set<std::string> StreamsGroup::overdue(int64_t now_ms) const {
  std::set<std::string> ids;
  for (const auto& [id, times] : times_) {
    if (times.first() <= now_ms) {
      ids.insert(id);
    }
  }
  return ids;
}

void StreamsGroup::postpone(const std::set<std::string>& member_ids, int64_t until_ms) {
  for (const auto& id : member_ids) {
    times_[id] = {.session = until_ms};
  }
}

void StreamsGroup::take_offsets(const StreamsGroupHeartbeatRequest& request) {
  const auto take = [](const auto& list, Offsets& into) {
    if (!list) {
      return;
    }
    into.clear();
    for (const auto& each : *list) {
      into[{each.subtopology_id, each.partition}] = each.offset;
    }
  };
  if ((request.task_offsets || request.task_end_offsets) &&
      state_.member(request.member_id) != nullptr) {
    MemberOffsets& offsets = offsets_[request.member_id];
    take(request.task_offsets, offsets.current);
    take(request.task_end_offsets, offsets.end);
  }
}

namespace {

using Described = StreamsGroupDescribeResponse;

// With the partitions that were decided, if they were.
std::vector<Described::TopicInfo> described(const std::vector<Topology::TopicInfo>& topics,
                                            const ConfiguredTopology* configured) {
  std::vector<Described::TopicInfo> out;
  for (const auto& topic : topics) {
    auto& info = out.emplace_back();
    info.name = topic.name;
    info.partitions =
        configured == nullptr ? topic.partitions : configured->internal_partitions.at(topic.name);
    info.replication_factor = topic.replication_factor;
    for (const auto& config : topic.topic_configs) {
      info.topic_configs.push_back({.key = config.key, .value = config.value});
    }
  }
  std::ranges::sort(out, {}, &Described::TopicInfo::name);
  return out;
}

Described::Topology described(const Topology& topology, const ConfiguredTopology* configured) {
  Described::Topology out;
  out.epoch = topology.epoch;
  out.subtopologies.emplace();
  for (const auto& subtopology : topology.subtopologies) {
    auto& each = out.subtopologies->emplace_back();
    each.subtopology_id = subtopology.subtopology_id;
    each.source_topics = subtopology.source_topics;
    each.repartition_sink_topics = subtopology.repartition_sink_topics;
    std::ranges::sort(each.source_topics);
    std::ranges::sort(each.repartition_sink_topics);
    each.state_changelog_topics = described(subtopology.state_changelog_topics, configured);
    each.repartition_source_topics = described(subtopology.repartition_source_topics, configured);
  }
  std::ranges::sort(*out.subtopologies, {}, &Described::Subtopology::subtopology_id);
  return out;
}

template <class From>
void describe_tasks(const From& from, Described::Assignment& into) {
  list_tasks(from.active, into.active_tasks);
  list_tasks(from.standby, into.standby_tasks);
  list_tasks(from.warmup, into.warmup_tasks);
}

Described::Member described(const StreamsMember& member, const TaskSets& target) {
  Described::Member out;
  out.member_id = member.id;
  out.member_epoch = member.epoch;
  put_origin(member, out);
  describe_tasks(member.assigned, out.assignment);
  describe_tasks(target, out.target_assignment);
  return out;
}

}  // namespace

StreamsGroupDescribeResponse::DescribedGroup StreamsGroup::describe(
    const replication::MetadataImage& image) const {
  Described::DescribedGroup out;
  out.group_id = state_.id();
  out.group_state = state_name();
  out.group_epoch = state_.epoch();
  out.assignment_epoch = state_.assignment_epoch();
  out.assignor_name = "sticky";
  if (const auto& topology = state_.topology()) {
    const auto configured = configure(*topology, image);
    const bool is_ready = topology->epoch == state_.validated_topology_epoch() && configured &&
                          configured->is_ready();
    out.topology = described(*topology, is_ready ? &*configured : nullptr);
  }
  for (const auto& [id, member] : state_.members()) {
    auto& each = out.members.emplace_back(described(*member, state_.target(id)));
    const auto said = offsets_.find(id);
    if (said == offsets_.end()) {
      continue;
    }
    const auto list = [](const Offsets& offsets, std::vector<Described::TaskOffset>& into) {
      for (const auto& [task, offset] : offsets) {
        into.push_back({.subtopology_id = task.first, .partition = task.second, .offset = offset});
      }
    };
    list(said->second.current, each.task_offsets);
    list(said->second.end, each.task_end_offsets);
  }
  return out;
}

namespace {

using Endpoints = StreamsGroupHeartbeatResponse::EndpointToPartitions;

// A task of a subtopology reads the partition of its number in each source that has so many.
template <class TaskMap, class PartitionOf>
void add_partitions(const TaskMap& tasks, const ConfiguredTopology& topology,
                    const replication::MetadataImage& image, PartitionOf partition_of,
                    std::vector<StreamsGroupHeartbeatResponse::TopicPartition>& into) {
  for (const auto& [subtopology, partitions] : tasks) {
    const auto configured = topology.subtopologies.find(subtopology);
    if (configured == topology.subtopologies.end()) {
      continue;
    }
    for (const auto& name : configured->second.sources) {
      const auto topic = image.topic(name);
      auto& out = into.emplace_back();
      out.topic = name;
      for (const auto& each : partitions) {
        if (topic != nullptr && topic->partitions.contains(partition_of(each))) {
          out.partitions.push_back(partition_of(each));
        }
      }
    }
  }
}

}  // namespace

std::vector<Endpoints> endpoints_of(const StreamsState& group, const ConfiguredTopology& topology,
                                    const replication::MetadataImage& image) {
  std::vector<Endpoints> out;
  for (const auto& [id, member] : group.members()) {
    if (!member->endpoint) {
      continue;
    }
    auto& each = out.emplace_back();
    each.user_endpoint.host = member->endpoint->host;
    each.user_endpoint.port = member->endpoint->port;
    add_partitions(
        member->assigned.active, topology, image, [](const auto& task) { return task.first; },
        each.active_partitions);
    add_partitions(
        member->assigned.standby, topology, image, [](int32_t partition) { return partition; },
        each.standby_partitions);
  }
  return out;
}

}  // namespace klamm::broker
