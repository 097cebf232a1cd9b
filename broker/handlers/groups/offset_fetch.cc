// OffsetFetch (key 9), v1-10.   v2: null topics mean all.   v6: flexible.   v7: requireStable. v8:
// several groups. v9: member epochs.   v10: topic ids.   Answers at once; never parked. Who wants
// stable offsets is told UNSTABLE_OFFSET_COMMIT where a transaction is about to change one
// (KIP-447).
#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using GroupAnswer = OffsetFetchResponse::OffsetFetchResponseGroup;
using AskedGroup = OffsetFetchRequest::OffsetFetchRequestGroup;
using PartitionAnswer = OffsetFetchResponse::OffsetFetchResponsePartitions;
constexpr int16_t kVersionWithTopicIds = 10;

PartitionAnswer none(int32_t partition, ErrorCode error = ErrorCode::kNone) {
  return {.partition_index = partition,
          .committed_offset = -1,
          .committed_leader_epoch = -1,
          .metadata = "",
          .error_code = error};
}

// The offsets of one group, as one request wants them.
class Offsets {
 public:
  Offsets(const OffsetStore& store, const std::string& group_id, bool stable)
      : store_(store), group_id_(group_id), stable_(stable) {}

  const OffsetStore::GroupOffsets* all() const { return store_.group(group_id_); }
  PartitionAnswer of(const std::string& topic, int32_t partition) const {
    if (stable_ && store_.has_pending(group_id_, {topic, partition})) {
      return none(partition, ErrorCode::kUnstableOffsetCommit);
    }
    const auto* const offsets = all();
    if (offsets == nullptr) {
      return none(partition);
    }
    const auto found = offsets->find({topic, partition});
    if (found == offsets->end()) {
      return none(partition);
    }
    return {.partition_index = partition,
            .committed_offset = found->second.offset,
            .committed_leader_epoch = found->second.leader_epoch,
            .metadata = found->second.metadata};
  }

 private:
  const OffsetStore& store_;
  const std::string& group_id_;
  bool stable_;
};

void add_all(Broker& broker, int16_t version, const Offsets& offsets, GroupAnswer& group) {
  if (offsets.all() == nullptr) {
    return;
  }
  for (const auto& [place, offset] : *offsets.all()) {
    const auto topic = broker.image()->topic(place.first);
    if (version >= kVersionWithTopicIds && topic == nullptr) {
      continue;  // a topic that is gone has no id to be named by
    }
    if (group.topics.empty() || group.topics.back().name != place.first) {
      group.topics.push_back(
          {.name = place.first, .topic_id = topic == nullptr ? Uuid{} : topic->id});
    }
    group.topics.back().partitions.push_back(offsets.of(place.first, place.second));
  }
}

void add_asked(Broker& broker, bool by_id, const AskedGroup& asked, const Offsets& offsets,
               GroupAnswer& group) {
  for (const auto& topic : *asked.topics) {
    auto& out = group.topics.emplace_back();
    out.name = topic.name;
    out.topic_id = topic.topic_id;
    const auto image = by_id ? broker.image()->topic(topic.topic_id) : nullptr;
    for (const int32_t partition : topic.partition_indexes) {
      if (by_id && image == nullptr) {
        out.partitions.push_back(none(partition, ErrorCode::kUnknownTopicId));
      } else {
        out.partitions.push_back(offsets.of(by_id ? image->name : topic.name, partition));
      }
    }
  }
}

GroupAnswer fetch(Broker& broker, int16_t version, bool stable, const AskedGroup& asked) {
  GroupAnswer group;
  group.group_id = asked.group_id;
  broker.with_own_group(asked.group_id, [&](Result<GroupShard*> shard) {
    if (!shard) {
      group.error_code = shard.error().code;
      return;
    }
    group.error_code = (*shard)->check_fetch(asked.group_id, asked.member_id, asked.member_epoch);
    if (group.error_code != ErrorCode::kNone) {
      return;
    }
    const Offsets offsets((*shard)->offsets(), asked.group_id, stable);
    if (asked.topics) {
      add_asked(broker, version >= kVersionWithTopicIds, asked, offsets, group);
    } else {
      add_all(broker, version, offsets, group);
    }
  });
  return group;
}

// Versions before 8 ask for one group.
AskedGroup only_group(const OffsetFetchRequest& request) {
  AskedGroup asked;
  asked.group_id = request.group_id;
  asked.topics.reset();
  if (request.topics) {
    asked.topics.emplace();
    for (const auto& topic : *request.topics) {
      asked.topics->push_back({.name = topic.name, .partition_indexes = topic.partition_indexes});
    }
  }
  return asked;
}

// Their answer has a form of its own.
OffsetFetchResponse flatten(int16_t version, const OffsetFetchRequest& request,
                            const GroupAnswer& group) {
  OffsetFetchResponse response;
  response.error_code = group.error_code;
  for (const auto& topic : group.topics) {
    auto& out = response.topics.emplace_back();
    out.name = topic.name;
    for (const auto& partition : topic.partitions) {
      out.partitions.push_back({.partition_index = partition.partition_index,
                                .committed_offset = partition.committed_offset,
                                .committed_leader_epoch = partition.committed_leader_epoch,
                                .metadata = partition.metadata,
                                .error_code = partition.error_code});
    }
  }
  // Version 1 has no place for an error of the whole.
  if (version < 2 && group.error_code != ErrorCode::kNone && request.topics) {
    for (const auto& topic : *request.topics) {
      auto& out = response.topics.emplace_back();
      out.name = topic.name;
      for (const int32_t partition : topic.partition_indexes) {
        out.partitions.push_back({.partition_index = partition,
                                  .committed_offset = -1,
                                  .metadata = "",
                                  .error_code = group.error_code});
      }
    }
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, OffsetFetchRequest&& request,
            Reply<OffsetFetchResponse> reply) {
  std::vector<AskedGroup> groups;
  if (context.version < 8) {
    groups.push_back(only_group(request));
  } else {
    groups = std::move(request.groups);
  }
  const bool stable = request.require_stable;
  ask_owners(
      context.broker, std::move(groups),
      [&broker = context.broker](const AskedGroup& asked) {
        return broker.group_owner(asked.group_id);
      },
      [version = context.version, stable](Broker& broker, const AskedGroup& asked) {
        return fetch(broker, version, stable, asked);
      },
      [request = std::move(request),
       reply = std::move(reply)](std::vector<GroupAnswer> answers) mutable {
        OffsetFetchResponse response;
        if (reply.version() < 8) {
          response = flatten(reply.version(), request, answers.front());
        } else {
          response.groups = std::move(answers);
        }
        reply.send(response);
      });
}

}  // namespace klamm::broker
