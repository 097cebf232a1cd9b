// DescribeShareGroupOffsets (key 90), v0-1 (KIP-932).   v1: lag.   What the share coordinators keep
// of a group's partitions; null topics mean all that the group has. Answered when all have said.
#include "broker/ask_owners.h"
#include "broker/coordinator/group/group_shard.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "broker/share/shares.h"
#include "protocol/generated/describe_share_group_offsets_request.h"
#include "protocol/generated/describe_share_group_offsets_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

using Asked = DescribeShareGroupOffsetsRequest::DescribeShareGroupOffsetsRequestGroup;
using Told = DescribeShareGroupOffsetsResponse::DescribeShareGroupOffsetsResponseGroup;
using ToldPartition = DescribeShareGroupOffsetsResponse::DescribeShareGroupOffsetsResponsePartition;

// A group's answer in the making; told once all of its partitions are.
struct Open {
  Told told;
  std::vector<AnswerSlot<Told>> slot;  // one
  size_t left = 1;
  void finish_one() {
    if (--left == 0) {
      slot.front().put(std::move(told));
    }
  }
};

// Behind the records that are done with, of a partition that this node leads.
int64_t lag_of(Broker& broker, const SharePartitionKey& key, const SharePartitionState& state) {
  if (state.start_offset < 0 || broker.owner(key.topic_id, key.partition) != broker.shard()) {
    return -1;
  }
  const auto led = broker.replicas().find(key.topic_id, key.partition);
  return led ? (*led)->high_watermark() - state.start_offset -
                   std::max(state.delivery_complete_count, 0)
             : -1;
}

void ask_partition(Broker& owner, const SharePartitionKey& key, size_t topic, size_t index,
                   const std::shared_ptr<Open>& open) {
  ++open->left;
  owner.shares().persister().summary(
      key, [&owner, key, topic, index, open](const Result<SharePartitionState>& state) {
        ToldPartition& partition = open->told.topics[topic].partitions[index];
        if (state) {
          partition.start_offset = state->start_offset;
          partition.leader_epoch = state->leader_epoch;
          partition.lag = lag_of(owner, key, *state);
        } else {
          partition.error_code = state.error().code;
          partition.error_message = state.error().why;
        }
        open->finish_one();
      });
}

std::map<std::string, std::vector<int32_t>> wanted_of(const Asked& asked,
                                                      const ShareGroupState& group) {
  std::map<std::string, std::vector<int32_t>> wanted;
  if (asked.topics) {
    for (const auto& topic : *asked.topics) {
      wanted[topic.topic_name] = topic.partitions;
    }
    return wanted;
  }
  for (const auto& [id, named] : group.shared().initialized) {
    wanted[named.name].assign(named.partitions.begin(), named.partitions.end());
  }
  return wanted;
}

void describe(Broker& owner, const Asked& asked, AnswerSlot<Told> slot) {
  auto open = std::make_shared<Open>();
  open->slot.push_back(std::move(slot));
  open->told.group_id = asked.group_id;
  owner.with_own_group(asked.group_id, [&](Result<GroupShard*> shard) {
    const auto* const group = shard ? (*shard)->share_state(asked.group_id) : nullptr;
    if (group == nullptr) {
      open->told.error_code = shard ? ErrorCode::kGroupIdNotFound : shard.error().code;
      open->told.error_message = "There is no share group " + asked.group_id + ".";
      return;
    }
    std::vector<std::tuple<SharePartitionKey, size_t, size_t>> places;
    for (const auto& [name, partitions] : wanted_of(asked, *group)) {
      const auto topic = owner.image()->topic(name);
      auto& out = open->told.topics.emplace_back();
      out.topic_name = name;
      out.topic_id = topic == nullptr ? Uuid() : topic->id;
      for (const int32_t partition : partitions) {
        auto& told = out.partitions.emplace_back();
        told.partition_index = partition;
        told.start_offset = -1;
        if (topic == nullptr) {
          told.error_code = ErrorCode::kUnknownTopicOrPartition;
        } else {
          places.emplace_back(SharePartitionKey{asked.group_id, topic->id, partition},
                              open->told.topics.size() - 1, out.partitions.size() - 1);
        }
      }
    }
    for (const auto& [key, topic, index] : places) {
      ask_partition(owner, key, topic, index, open);
    }
  });
  open->finish_one();
}

}  // namespace

void handle(RequestContext& context, DescribeShareGroupOffsetsRequest&& request,
            Reply<DescribeShareGroupOffsetsResponse> reply) {
  ask_owners_for<Told>(
      context.broker, std::move(request.groups),
      [&broker = context.broker](const Asked& asked) { return broker.group_owner(asked.group_id); },
      [](Broker& owner, const Asked& asked, AnswerSlot<Told> slot) {
        describe(owner, asked, std::move(slot));
      },
      [reply = std::move(reply)](std::vector<Told> groups) mutable {
        DescribeShareGroupOffsetsResponse response;
        response.groups = std::move(groups);
        reply.send(response);
      });
}

}  // namespace klamm::broker
