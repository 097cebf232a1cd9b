// Fetch (key 1), v4-18.   v7: sessions (KIP-227).   v9: leader epochs.   v11: the
// consumer's rack (KIP-392), which may be told of a nearer replica.   v12: flexible, last
// fetched epoch.   v13: topic ids.   v15: replica state.   v16: endpoints of a new leader.   v18:
// the fetcher's high watermark. Waits until min_bytes are there, max_wait_ms are over, or a
// partition has an error. The answer names ranges of the log's files; they are read when it leaves.
#include <memory>

#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/parked.h"
#include "broker/node.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "replication/metadata/replica_list.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;
using replication::Partition;

namespace {

using PartitionAnswer = FetchResponse::PartitionData;
constexpr int8_t kReadCommitted = 1;
constexpr int16_t kVersionWithRack = 11;
constexpr int16_t kVersionWithTopicIds = 13;
constexpr int16_t kVersionWithReplicaState = 15;

// What one fetch asks every partition.
struct Terms {
  int16_t version;
  int8_t isolation;
  int32_t min_bytes;
  int64_t max_bytes;
  int32_t replica = -1;  // the broker of a follower
  int64_t replica_epoch = -1;
  std::string rack;  // of a consumer
  bool of_follower() const { return replica >= 0; }
};

// A partition of a fetch, and what it said.
struct Reading {
  FetchKey key;
  FetchRequest::FetchPartition wanted;
  PartitionAnswer answer;
  bool is_bounded = false;  // of a follower that catches up under a throttle
};

bool is_urgent(const PartitionAnswer& answer) {
  return answer.error_code != ErrorCode::kNone || answer.diverging_epoch.end_offset >= 0 ||
         answer.preferred_read_replica >= 0;
}

// The fetcher's last epoch ended earlier here than where it wants to read (KIP-595).
bool diverges(const storage::Log& log, const FetchRequest::FetchPartition& wanted,
              PartitionAnswer& answer) {
  if (wanted.last_fetched_epoch < 0 || wanted.fetch_offset < log.start_offset()) {
    return false;
  }
  const auto end = log.epochs().end_of(wanted.last_fetched_epoch, log.end_offset());
  if (end.epoch == wanted.last_fetched_epoch && end.start_offset >= wanted.fetch_offset) {
    return false;
  }
  answer.diverging_epoch = {.epoch = end.epoch,
                            .end_offset = std::max<int64_t>(end.start_offset, 0)};
  return true;
}

// The replica in sync that has most of those in the consumer's rack; -1 when this leader is there
// too, or none is.
int32_t nearer_replica(Broker& owner, const Partition& partition, const Terms& terms,
                       int64_t offset) {
  if (terms.rack.empty() || !partition.is_leader() ||
      !owner.config().get("replica.selector.class").ends_with("RackAwareReplicaSelector")) {
    return -1;
  }
  const auto& brokers = owner.image()->brokers;
  int32_t best = -1;
  int64_t most = offset - 1;
  for (const int32_t id : partition.isr()) {
    const auto broker = brokers.find(id);
    if (broker == brokers.end() || broker->second.rack != terms.rack) {
      continue;
    }
    if (id == owner.config().node_id()) {
      return -1;
    }
    if (const int64_t end = partition.end_of_follower(id);
        end > most && is_active(broker->second)) {
      best = id;
      most = end;
    }
  }
  return best;
}

Result<Payload> read_committed(storage::Log& log, int64_t offset, size_t size_max,
                               bool at_least_one, PartitionAnswer& answer) {
  TRY(auto read, log.read_committed(offset, size_max, answer.last_stable_offset, at_least_one));
  auto& aborted = answer.aborted_transactions.emplace();
  for (const auto& txn : read.aborted) {
    aborted.push_back({.producer_id = txn.producer_id, .first_offset = txn.first_offset});
  }
  return std::move(read.records);
}

void read_records(Partition& partition, const FetchRequest::FetchPartition& wanted,
                  const Terms& terms, int64_t bytes_left, bool nothing_yet, int64_t now_ms,
                  PartitionAnswer& answer) {
  storage::Log& log = partition.log();
  const bool committed = terms.isolation == kReadCommitted;
  answer.high_watermark = partition.high_watermark();
  answer.last_stable_offset = partition.last_stable_offset();
  answer.log_start_offset = log.start_offset();
  answer.aborted_transactions.reset();
  if (diverges(log, wanted, answer)) {
    return;
  }
  if (terms.of_follower() && wanted.fetch_offset >= log.start_offset() &&
      wanted.fetch_offset <= log.end_offset()) {
    answer.error_code =
        partition.note_fetch(terms.replica, terms.replica_epoch, wanted.fetch_offset, now_ms);
    if (answer.error_code != ErrorCode::kNone) {
      return;
    }
    partition.note_start(terms.replica, wanted.log_start_offset);
    answer.high_watermark = partition.high_watermark();
  }
  // Followers get what is not committed yet.
  const int64_t bound = terms.of_follower() ? log.end_offset() : answer.high_watermark;
  const auto size_max = static_cast<size_t>(
      std::max<int64_t>(std::min<int64_t>(wanted.partition_max_bytes, bytes_left), 0));
  auto records = committed ? read_committed(log, wanted.fetch_offset, size_max, nothing_yet, answer)
                           : log.read(wanted.fetch_offset, size_max, bound, nothing_yet);
  if (records) {
    answer.records = std::move(*records);
    return;
  }
  answer.error_code = records.error().code;
  answer.high_watermark = -1;
  answer.last_stable_offset = -1;
  // A follower that is too far behind begins again at the leader's start.
  answer.log_start_offset = terms.of_follower() ? log.start_offset() : -1;
  answer.aborted_transactions.reset();
}

// A follower that is not in sync yet, where replication may only take a share.
bool is_bounded(Broker& owner, const FetchKey& key, const Partition& partition,
                const Terms& terms) {
  return terms.of_follower() && !replication::contains(partition.isr(), terms.replica) &&
         owner.node().leader_throttle().applies(owner.config(), *owner.image(),
                                                partition.id().topic, key.partition);
}

// Answers the partition, which is null when it cannot be read from.
Partition* read(Broker& owner, Reading& reading, const Terms& terms, int64_t bytes_left,
                bool nothing_yet) {
  PartitionAnswer& answer = reading.answer;
  answer = {};
  answer.partition_index = reading.key.partition;
  answer.high_watermark = -1;
  answer.records = Payload();
  const bool or_follower = !terms.of_follower() && terms.version >= kVersionWithRack;
  const auto& [topic, topic_id, partition] = reading.key;
  const auto found = terms.version >= kVersionWithTopicIds
                         ? owner.replicas().find(topic_id, partition, or_follower)
                         : owner.replicas().find(topic, partition, or_follower);
  answer.error_code =
      found ? (*found)->check_epoch(reading.wanted.current_leader_epoch) : found.error().code;
  if (answer.error_code != ErrorCode::kNone) {
    return nullptr;
  }
  answer.preferred_read_replica =
      nearer_replica(owner, **found, terms, reading.wanted.fetch_offset);
  const int64_t now = owner.clock().monotonic_ms();
  reading.is_bounded = is_bounded(owner, reading.key, **found, terms);
  const bool gets_none =
      answer.preferred_read_replica >= 0 ||
      (reading.is_bounded && owner.node().leader_throttle().is_exceeded(owner.config(), now));
  read_records(**found, reading.wanted, terms, gets_none ? 0 : bytes_left,
               nothing_yet && !gets_none, now, answer);
  return *found;
}

// The share of a fetch that belongs to one shard.
class Share : public ParkedPart {
 public:
  // `terms` are those of the fetch, which outlives it.
  Share(size_t owner, Tell tell, const Terms& terms)
      : ParkedPart(owner, std::move(tell)), terms_(terms) {}

  std::vector<Reading>& readings() { return readings_; }
  int64_t bytes() const { return bytes_; }
  bool urgent() const { return urgent_; }

 private:
  // What is not enough by itself waits for more.
  void read(Broker& broker, bool now_or_never) override {
    bytes_ = 0;
    urgent_ = false;
    std::vector<std::pair<Partition*, int64_t>> partitions;
    for (Reading& reading : readings_) {
      Partition* const partition =
          broker::read(broker, reading, terms_, terms_.max_bytes - bytes_, bytes_ == 0);
      bytes_ += reading.answer.records ? static_cast<int64_t>(reading.answer.records->size()) : 0;
      urgent_ = urgent_ || is_urgent(reading.answer);
      if (partition != nullptr) {
        partitions.emplace_back(partition, end_of(*partition));
      }
    }
    if (!now_or_never && !urgent_ && bytes_ < terms_.min_bytes) {
      wait_for(partitions);
    }
  }
  // Up to where this fetch may read.
  int64_t end_of(Partition& partition) const {
    return terms_.of_follower() ? partition.log().end_offset() : partition.high_watermark();
  }
  void wait_for(const std::vector<std::pair<Partition*, int64_t>>& partitions) {
    bool is_late = false;
    for (const auto& [partition, seen_end] : partitions) {
      partition->watch(watcher(), terms_.of_follower());
      is_late = is_late || end_of(*partition) != seen_end;
    }
    // What a follower has, which its fetch tells of one partition, may let others be written to
    // that were read before: a transaction's end is kept, and its markers are due.
    if (const auto late = is_late ? watcher().lock() : nullptr) {
      late->notify();
    }
  }

  const Terms& terms_;
  std::vector<Reading> readings_;
  int64_t bytes_ = 0;
  bool urgent_ = false;
};

class Fetching : public Parked<Share> {
 public:
  Fetching(RequestContext& context, const FetchRequest& request, FetchSessions::Plan plan,
           Reply<FetchResponse> reply)
      : Parked(context.broker),
        terms_{
            context.version,
            request.isolation_level,
            request.min_bytes,
            std::min<int64_t>(request.max_bytes, context.broker.config().number("fetch.max.bytes")),
            context.version >= kVersionWithReplicaState ? request.replica_state.replica_id
                                                        : request.replica_id,
            request.replica_state.replica_epoch,
            request.rack_id},
        session_id_(plan.session == nullptr ? 0 : plan.session->id),
        loose_(std::move(plan.loose)),
        incremental_(plan.incremental),
        reply_(std::move(reply)) {}

  void begin(int32_t max_wait_ms) {
    const FetchSession* const items = session();
    nothing_asked_ = items->items.empty() && session_id_ == 0;
    for (const FetchItem& item : items->items) {
      part_of(owner_of(item.key), terms_).readings().push_back({item.key, item.wanted, {}});
    }
    Parked::begin(max_wait_ms);
  }

 private:
  FetchSession* session() {
    return session_id_ == 0 ? &loose_ : broker().fetch_sessions().find(session_id_);
  }
  size_t owner_of(const FetchKey& key) {
    return terms_.version >= kVersionWithTopicIds ? broker().owner(key.topic_id, key.partition)
                                                  : broker().owner(key.topic, key.partition);
  }
  bool is_wanted() const override { return reply_.is_wanted(); }
  bool has_enough() const override {
    int64_t bytes = 0;
    bool urgent = nothing_asked_;
    for (const auto& share : parts()) {
      bytes += share->bytes();
      urgent = urgent || share->urgent();
    }
    return urgent || bytes >= terms_.min_bytes;
  }
  void answer() override {
    FetchSession* const asked = session();
    if (asked == nullptr) {
      // Another request ended the session while this one waited; the client does not expect its
      // records.
      return reply_.send({.error_code = ErrorCode::kFetchSessionIdNotFound});
    }
    FetchResponse response;
    response.session_id = session_id_;
    int64_t room = terms_.max_bytes;
    for (const auto& share : parts()) {
      for (Reading& reading : share->readings()) {
        add(*asked, reading, room, response);
      }
    }
    reply_.send(response);
  }

  void add(FetchSession& asked, Reading& reading, int64_t& room, FetchResponse& response) {
    const auto known = asked.index.find(reading.key);
    if (known == asked.index.end()) {
      return;
    }
    FetchItem& item = *known->second;
    PartitionAnswer& answer = reading.answer;
    auto size = answer.records ? static_cast<int64_t>(answer.records->size()) : 0;
    if (size > room && room < terms_.max_bytes) {
      // Several shards together had more than the fetcher has room for; it asks for the rest again.
      answer.records = Payload();
      size = 0;
    }
    room -= size;
    if (reading.is_bounded) {
      broker().node().leader_throttle().record(size, broker().clock().monotonic_ms());
    }
    const bool has_news = size > 0 || is_urgent(answer) ||
                          answer.high_watermark != item.told_high_watermark ||
                          answer.log_start_offset != item.told_start_offset;
    if (incremental_ && !has_news) {
      return;
    }
    item.told_high_watermark = answer.error_code == ErrorCode::kNone ? answer.high_watermark : -2;
    item.told_start_offset = answer.log_start_offset;
    auto& topics = response.responses;
    if (topics.empty() || topics.back().topic != reading.key.topic ||
        topics.back().topic_id != reading.key.topic_id) {
      topics.push_back({.topic = reading.key.topic, .topic_id = reading.key.topic_id});
    }
    topics.back().partitions.push_back(std::move(answer));
    if (size > 0) {
      // Those who were served stand at the end of the queue next time.
      asked.items.splice(asked.items.end(), asked.items, known->second);
    }
  }

  Terms terms_;
  int32_t session_id_;
  FetchSession loose_;
  bool incremental_;
  bool nothing_asked_ = false;
  Reply<FetchResponse> reply_;
};

// The metadata log, at the controller's listener.
void fetch_metadata(RequestContext& context, FetchRequest&& request, Reply<FetchResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        const int16_t version = reply.version();
        node.quorum().raft().fetch(
            request, version, [reply = std::move(reply)](const FetchResponse& response) mutable {
              reply.send(response);
            });
        node.raft_driver().arm();
      });
}

}  // namespace

void handle(RequestContext& context, FetchRequest&& request, Reply<FetchResponse> reply) {
  if (context.broker.config().is_controller_listener(context.listener_name)) {
    return fetch_metadata(context, std::move(request), std::move(reply));
  }
  auto plan = context.broker.fetch_sessions().plan(request, context.broker.random(),
                                                   context.broker.clock().monotonic_ms());
  if (!plan) {
    return reply.send({.error_code = plan.error().code});
  }
  std::make_shared<Fetching>(context, request, std::move(*plan), std::move(reply))
      ->begin(request.max_wait_ms);
}

}  // namespace klamm::broker
