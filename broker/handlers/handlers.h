#pragma once
// The handlers, one per API, each in the file of its name. All have the same shape: authorise, ask
// the owner, answer. A handler may move from its request, and the reply may be sent from any shard.
#include "broker/handlers/reply.h"
#include "broker/handlers/request_context.h"
#include "protocol/error_code.h"

namespace klamm::protocol {
// clang-format off
#define KLAMM_APIS(X) \
  X(Produce) X(Fetch) X(ListOffsets) X(Metadata) X(OffsetCommit) \
  X(OffsetFetch) X(FindCoordinator) X(JoinGroup) X(Heartbeat) X(LeaveGroup) \
  X(SyncGroup) X(DescribeGroups) X(ListGroups) X(ApiVersions) X(CreateTopics) \
  X(DeleteTopics) X(DeleteRecords) X(InitProducerId) X(OffsetForLeaderEpoch) X(DescribeConfigs) \
  X(AlterReplicaLogDirs) X(DescribeLogDirs) X(CreatePartitions) X(DeleteGroups) X(OffsetDelete) X(DescribeCluster) \
  X(DescribeTopicPartitions) X(DescribeQuorum) \
  X(Vote) X(BeginQuorumEpoch) X(EndQuorumEpoch) X(FetchSnapshot) X(Envelope) \
  X(BrokerRegistration) X(BrokerHeartbeat) X(ControllerRegistration) X(AlterPartition) \
  X(AllocateProducerIds) X(AssignReplicasToDirs) \
  X(AlterPartitionReassignments) X(ListPartitionReassignments) X(ElectLeaders) \
  X(AlterConfigs) X(IncrementalAlterConfigs) X(ListConfigResources) \
  X(AddPartitionsToTxn) X(AddOffsetsToTxn) X(EndTxn) X(WriteTxnMarkers) X(TxnOffsetCommit) \
  X(ConsumerGroupHeartbeat) X(ConsumerGroupDescribe) \
  X(StreamsGroupHeartbeat) X(StreamsGroupDescribe) X(StreamsGroupTopologyDescriptionUpdate) \
  X(ShareGroupHeartbeat) X(ShareGroupDescribe) X(ShareFetch) X(ShareAcknowledge) \
  X(InitializeShareGroupState) X(ReadShareGroupState) X(WriteShareGroupState) X(DeleteShareGroupState) \
  X(ReadShareGroupStateSummary) X(DescribeShareGroupOffsets) X(AlterShareGroupOffsets) X(DeleteShareGroupOffsets) \
  X(DescribeProducers) X(DescribeTransactions) X(ListTransactions) \
  X(UpdateFeatures) X(UnregisterBroker) X(AddRaftVoter) X(RemoveRaftVoter) X(UpdateRaftVoter)
// clang-format on
#define X(name)         \
  struct name##Request; \
  struct name##Response;
KLAMM_APIS(X)
#undef X
}  // namespace klamm::protocol

namespace klamm::broker {

#define X(name)                                                           \
  void handle(RequestContext& context, protocol::name##Request&& request, \
              Reply<protocol::name##Response> reply);
KLAMM_APIS(X)
#undef X

using protocol::ErrorCode;

// The bits that say which operations are allowed, where nothing is forbidden.
inline constexpr int32_t kTopicOperations = 0xDF8;
inline constexpr int32_t kClusterOperations = 0x1FA0;
inline constexpr int32_t kGroupOperations = 0xD48;
inline constexpr int32_t kOperationsNotAsked = INT32_MIN;

}  // namespace klamm::broker
