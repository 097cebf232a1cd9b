#pragma once
// One partition of __share_group_state: the state of share partitions, each the offsets that a
// share group has of one partition (KIP-932). Kept as snapshots with updates between them; changes
// only by its records.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "broker/coordinator/group/respond.h"
#include "broker/coordinator/runtime.h"
#include "broker/coordinator/share_state/delivery.h"
#include "protocol/base/uuid.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

using protocol::Uuid;

struct SharePartitionKey {
  std::string group_id;
  Uuid topic_id;
  int32_t partition = 0;
  auto operator<=>(const SharePartitionKey&) const = default;
  // What decides on the partition that holds its state.
  std::string text() const {
    return group_id + ":" + topic_id.to_string() + ":" + std::to_string(partition);
  }
};

struct SharePartitionState {
  int32_t snapshot_epoch = 0;
  int32_t state_epoch = 0;
  int32_t leader_epoch = 0;
  int64_t start_offset = -1;  // -1: not decided yet
  int32_t delivery_complete_count = -1;
  std::vector<DeliveryBatch> batches;
  int64_t created_ms = 0;
  int64_t written_ms = 0;
  int32_t updates = 0;  // since the snapshot
  bool operator==(const SharePartitionState&) const = default;
};

// What a leader of a partition wants written. -1: as it was.
struct ShareStateUpdate {
  int32_t state_epoch = -1;
  int32_t leader_epoch = -1;
  int64_t start_offset = -1;
  int32_t delivery_complete_count = -1;
  std::vector<DeliveryBatch> batches;
};

struct ShareStateConfig {
  int32_t updates_per_snapshot = 500;
  int64_t cold_snapshot_ms = 300'000;  // a state that old is written anew, so that the log can go
};

class ShareStateShard : public CoordinatorShard {
 public:
  ShareStateShard(RecordSink& sink, const ShareStateConfig& config,
                  std::function<replication::ImagePtr()> image)
      : sink_(sink), config_(config), image_(std::move(image)) {}

  // A share partition begins, or begins anew. FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION.
  void initialize(const SharePartitionKey& key, int32_t state_epoch, int64_t start_offset,
                  int64_t now_ms, Respond<ErrorCode> respond);
  // What is kept, for a leader of that epoch, which fences those before it.
  // INVALID_REQUEST: it was never initialized. FENCED_LEADER_EPOCH.
  void read(const SharePartitionKey& key, int32_t leader_epoch, int64_t now_ms,
            Respond<Result<SharePartitionState>> respond);
  // INVALID_REQUEST, FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH.
  void write(const SharePartitionKey& key, const ShareStateUpdate& update, int64_t now_ms,
             Respond<ErrorCode> respond);
  void remove(const SharePartitionKey& key, Respond<ErrorCode> respond);
  // Without the batches; that of a partition that was never initialized is empty.
  Result<SharePartitionState> summary(const SharePartitionKey& key) const;
  const std::map<SharePartitionKey, SharePartitionState>& states() const { return states_; }

  void replay(const CoordinatorRecord& record, RecordPlace place, int64_t now_ms) override;
  void loaded(int64_t now_ms) override { next_check_ms_ = now_ms + config_.cold_snapshot_ms; }
  void tick(int64_t now_ms) override;
  std::optional<int64_t> next_deadline() const override { return next_check_ms_; }
  // Below this offset no record is needed any more.
  int64_t first_needed_offset() const;

 private:
  Result<> check_exists(const SharePartitionKey& key) const;
  Result<SharePartitionState> find(const SharePartitionKey& key, int32_t leader_epoch) const;
  CoordinatorRecord next_record(const SharePartitionKey& key, const SharePartitionState& state,
                                const ShareStateUpdate& update, int32_t leader_epoch,
                                int64_t now_ms) const;

  RecordSink& sink_;
  const ShareStateConfig& config_;
  std::function<replication::ImagePtr()> image_;
  std::map<SharePartitionKey, SharePartitionState> states_;
  std::map<SharePartitionKey, int64_t> snapshots_at_;  // the offsets of the newest ones
  int64_t end_ = 0;                                    // behind the last record
  int64_t next_check_ms_ = INT64_MAX;
};

}  // namespace klamm::broker
