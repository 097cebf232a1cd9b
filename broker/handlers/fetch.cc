// Fetch (key 1), v4-18.   v7: sessions (KIP-227).   v9: leader epochs.   v12: flexible, last
// fetched epoch.   v13: topic ids.   v15: replica state.   v16: endpoints of a new leader.   v18:
// the fetcher's high watermark. Waits until min_bytes are there, max_wait_ms are over, or a
// partition has an error. The answer names ranges of the log's files; they are read when it leaves.
#include <memory>

#include "broker/broker.h"
#include "broker/handlers/handlers.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"

namespace klamm::broker {

using namespace protocol;
using replication::Partition;

namespace {

using PartitionAnswer = FetchResponse::PartitionData;
constexpr int8_t kReadCommitted = 1;
constexpr int16_t kVersionWithTopicIds = 13;

// One fetch from arrival to answer; alive while it is parked.
class Fetching : public replication::Watcher, public std::enable_shared_from_this<Fetching> {
 public:
  Fetching(RequestContext& context, const FetchRequest& request, FetchSessions::Plan plan,
           Reply<FetchResponse> reply)
      : broker_(context.broker),
        version_(context.version),
        min_bytes_(request.min_bytes),
        isolation_(request.isolation_level),
        max_bytes_(std::min<int64_t>(request.max_bytes,
                                     context.broker.config().number("fetch.max.bytes"))),
        session_id_(plan.session == nullptr ? 0 : plan.session->id),
        loose_(std::move(plan.loose)),
        incremental_(plan.incremental),
        reply_(std::move(reply)) {}

  void begin(int32_t max_wait_ms) {
    if (try_to_answer(max_wait_ms <= 0)) {
      return;
    }
    timer_ = broker_.timers().at(broker_.clock().monotonic_ms() + max_wait_ms,
                                 [self = shared_from_this()] { self->try_to_answer(true); });
  }
  // A partition has news.
  void notify() override {
    if (!answered_ && try_to_answer(false)) {
      broker_.timers().cancel(timer_);
    }
  }

 private:
  struct Outcome {
    FetchItem* item;
    PartitionAnswer answer;
  };

  // Reads what is there; answers when that is enough or `now_or_never`, else waits at the
  // partitions.
  bool try_to_answer(bool now_or_never) {
    if (answered_) {
      return true;
    }
    FetchSession* session = session_id_ == 0 ? &loose_ : broker_.fetch_sessions().find(session_id_);
    if (session == nullptr || !reply_.is_wanted()) {
      // Another request ended the session while this one waited; the client does not expect its
      // records.
      answered_ = true;
      return reply_.send({.error_code = ErrorCode::kFetchSessionIdNotFound}), true;
    }
    std::vector<Outcome> outcomes;
    std::vector<Partition*> partitions;
    int64_t bytes = 0;
    bool urgent = session->items.empty() && session_id_ == 0;
    for (FetchItem& item : session->items) {
      Partition* partition = nullptr;
      PartitionAnswer answer = read(item, max_bytes_ - bytes, bytes == 0, partition);
      bytes += answer.records ? static_cast<int64_t>(answer.records->size()) : 0;
      urgent =
          urgent || answer.error_code != ErrorCode::kNone || answer.diverging_epoch.end_offset >= 0;
      if (partition != nullptr) {
        partitions.push_back(partition);
      }
      outcomes.push_back({&item, std::move(answer)});
    }
    if (!now_or_never && !urgent && bytes < min_bytes_) {
      for (Partition* partition : partitions) {
        partition->watch(weak_from_this());
      }
      return false;
    }
    answer(*session, outcomes);
    return true;
  }

  PartitionAnswer read(const FetchItem& item, int64_t bytes_left, bool nothing_yet,
                       Partition*& partition) {
    PartitionAnswer answer;
    answer.partition_index = item.key.partition;
    answer.high_watermark = -1;
    answer.records = Payload();
    const auto found = version_ >= kVersionWithTopicIds
                           ? broker_.replicas().find(item.key.topic_id, item.key.partition)
                           : broker_.replicas().find(item.key.topic, item.key.partition);
    if (!found) {
      answer.error_code = found.error().code;
      return answer;
    }
    if (const ErrorCode epoch = (*found)->check_epoch(item.wanted.current_leader_epoch);
        epoch != ErrorCode::kNone) {
      answer.error_code = epoch;
      return answer;
    }
    partition = *found;
    storage::Log& log = partition->log();
    answer.high_watermark = partition->high_watermark();
    answer.last_stable_offset = partition->last_stable_offset();
    answer.log_start_offset = log.start_offset();
    if (isolation_ == kReadCommitted) {
      answer.aborted_transactions.emplace();
    } else {
      answer.aborted_transactions.reset();
    }
    if (diverges(log, item.wanted, answer)) {
      return answer;
    }
    const int64_t bound =
        isolation_ == kReadCommitted ? answer.last_stable_offset : answer.high_watermark;
    const int64_t size_max =
        std::min<int64_t>(item.wanted.partition_max_bytes, std::max<int64_t>(bytes_left, 0));
    auto records =
        log.read(item.wanted.fetch_offset, static_cast<size_t>(std::max<int64_t>(size_max, 0)),
                 bound, nothing_yet);
    if (records) {
      answer.records = std::move(*records);
      return answer;
    }
    answer.error_code = records.error().code;
    answer.high_watermark = -1;
    answer.last_stable_offset = -1;
    answer.log_start_offset = -1;
    answer.aborted_transactions.reset();
    return answer;
  }

  // The fetcher's last epoch ended earlier here than where it wants to read (KIP-595).
  static bool diverges(const storage::Log& log, const FetchRequest::FetchPartition& wanted,
                       PartitionAnswer& answer) {
    if (wanted.last_fetched_epoch < 0 || wanted.fetch_offset < log.start_offset() ||
        wanted.fetch_offset > log.end_offset()) {
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

  void answer(FetchSession& session, std::vector<Outcome>& outcomes) {
    FetchResponse response;
    response.session_id = session_id_;
    for (auto& [item, answer] : outcomes) {
      const bool has_records = answer.records && answer.records->size() > 0;
      const bool has_news = has_records || answer.error_code != ErrorCode::kNone ||
                            answer.high_watermark != item->told_high_watermark ||
                            answer.log_start_offset != item->told_start_offset ||
                            answer.diverging_epoch.end_offset >= 0;
      if (incremental_ && !has_news) {
        continue;
      }
      item->told_high_watermark =
          answer.error_code == ErrorCode::kNone ? answer.high_watermark : -2;
      item->told_start_offset = answer.log_start_offset;
      auto& topics = response.responses;
      if (topics.empty() || topics.back().topic != item->key.topic ||
          topics.back().topic_id != item->key.topic_id) {
        topics.push_back({.topic = item->key.topic, .topic_id = item->key.topic_id});
      }
      topics.back().partitions.push_back(std::move(answer));
      if (has_records) {
        // Those who were served stand at the end of the queue next time.
        session.items.splice(session.items.end(), session.items, session.index.at(item->key));
      }
    }
    answered_ = true;
    reply_.send(response);
  }

  Broker& broker_;
  int16_t version_;
  int32_t min_bytes_;
  int8_t isolation_;
  int64_t max_bytes_;
  int32_t session_id_;
  FetchSession loose_;
  bool incremental_;
  Reply<FetchResponse> reply_;
  Timers::Id timer_;
  bool answered_ = false;
};

}  // namespace

void handle(RequestContext& context, const FetchRequest& request, Reply<FetchResponse> reply) {
  auto plan = context.broker.fetch_sessions().plan(request, context.broker.random(),
                                                   context.broker.clock().monotonic_ms());
  if (!plan) {
    return reply.send({.error_code = plan.error().code});
  }
  std::make_shared<Fetching>(context, request, std::move(*plan), std::move(reply))
      ->begin(request.max_wait_ms);
}

}  // namespace klamm::broker
