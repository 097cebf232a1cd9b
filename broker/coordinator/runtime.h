#pragma once
// What every coordinator of Kafka has in common (KIP-915 and its successors): state that lives in
// the partitions of an internal topic. A coordinator shard answers a request by records; they are
// appended, replayed into the shard by the one function that loading uses, and the answer is parked
// until they are committed.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/replicas.h"
#include "broker/timers.h"
#include "protocol/base/bytes.h"
#include "protocol/base/result.h"
#include "protocol/records/batch.h"

namespace klamm::broker {

// One record of a coordinator's topic; no value: a tombstone.
struct CoordinatorRecord {
  protocol::Bytes key;
  std::optional<protocol::Bytes> value;
};

// A producer as it writes: the epoch fences its earlier lives.
struct ProducerIdentity {
  int64_t id = -1;
  int16_t epoch = -1;
  bool operator==(const ProducerIdentity&) const = default;
};

// Records that count when the producer's transaction commits.
struct InTransaction {
  ProducerIdentity producer;
  std::optional<uint64_t> verification;  // storage::AppendOrigin
};

// Where a record lies: its offset, and whose transaction it is part of; -1: in none.
struct RecordPlace {
  int64_t offset = -1;
  int64_t producer_id = -1;
};

// Where a shard's records go. `committed` is called with kNone once they are replicated, or with
// what the client is to be told; until it was called with kNone nothing may be promised.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual void append(std::vector<CoordinatorRecord> records,
                      std::function<void(ErrorCode)> committed) = 0;
  virtual void append_in_transaction(const InTransaction& transaction,
                                     std::vector<CoordinatorRecord> records,
                                     std::function<void(ErrorCode)> committed) = 0;
  // The leader epoch under which they are appended.
  virtual int32_t epoch() const = 0;
};

// The state of one partition of the topic. Pure: time comes as an argument, records leave through
// the sink.
class CoordinatorShard {
 public:
  virtual ~CoordinatorShard() = default;
  // The only way in which durable state changes; used live and on loading.
  virtual void replay(const CoordinatorRecord& record, RecordPlace place, int64_t now_ms) = 0;
  // The producer's transaction, if it has one open here, has come to its end.
  virtual void end_transaction(int64_t /*producer_id*/, bool /*commits*/) {}
  // All records are replayed and committed; sessions and timeouts start.
  virtual void loaded(int64_t now_ms) = 0;
  // Another broker takes over, or this one will load everything again: whoever waits is told.
  virtual void unloaded() {}
  // Does what is due.
  virtual void tick(int64_t now_ms) = 0;
  // When tick wants to be called next; nullopt: never.
  virtual std::optional<int64_t> next_deadline() const = 0;
};

using ShardFactory = std::function<std::unique_ptr<CoordinatorShard>(RecordSink& sink)>;

class CoordinatorRuntime {
 public:
  // `base_sequence` stands in the batches, though nobody reads it: Kafka's coordinators write
  // different ones. Shards are told the wall time of `shard_clock`.
  CoordinatorRuntime(std::string topic, int32_t base_sequence, Replicas& replicas, Timers& timers,
                     const storage::Clock& clock, const storage::Clock& shard_clock,
                     ShardFactory factory);
  ~CoordinatorRuntime();

  // The shard of a partition, loaded first when it is not in memory. COORDINATOR_NOT_AVAILABLE when
  // the topic is not there, NOT_COORDINATOR when this node does not lead the partition,
  // COORDINATOR_LOAD_IN_PROGRESS until all that was loaded is committed: what the leader before has
  // left may still be lost, and nobody may act on it.
  Result<CoordinatorShard*> shard(int32_t partition);
  // Lets go of the shards of partitions that this node leads no longer, or in another epoch.
  void drop_lost();
  // Must be called after each event given to the shard: its deadline may have moved.
  void rearm(int32_t partition);
  // A transaction's marker has been appended to a partition.
  void on_marker(int32_t partition, int64_t producer_id, bool commits);
  // Loads all partitions that are led and owned here and calls `visit` for each.
  void for_each(const std::function<void(CoordinatorShard&)>& visit);
  // The partitions whose shards are in memory.
  std::vector<int32_t> hosted_partitions() const;

 private:
  class Hosted;
  bool is_current(int32_t partition);
  void unload(int32_t partition);
  void on_committed(int32_t partition, int32_t leader_epoch, ErrorCode code);
  Result<> load(Hosted& hosted, int32_t partition);
  void replay(Hosted& hosted, const protocol::BatchView& batch, int32_t partition);

  std::string topic_;
  int32_t base_sequence_;
  Replicas& replicas_;
  Timers& timers_;
  const storage::Clock& clock_;  // of the records' timestamps
  const storage::Clock& shard_clock_;
  ShardFactory factory_;
  std::map<int32_t, std::unique_ptr<Hosted>> hosted_;
};

// The partition that a key belongs to: Java's String.hashCode, made positive, modulo the count.
int32_t coordinator_partition(const std::string& key, int32_t partitions);

}  // namespace klamm::broker
