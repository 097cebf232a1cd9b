// ShareFetch (key 78), v1-2 (KIP-932).   v2: how records are acquired (KIP-1206), renewal of locks
// (KIP-1222).   First takes the acknowledgements that came along, then acquires records of the
// session's partitions, of each leader that is here; waits until there are some or max_wait_ms are
// over.
#include <memory>

#include "broker/cluster/broker_address.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
#include "broker/handlers/parked.h"
#include "broker/handlers/share/acknowledging.h"
#include "protocol/generated/share_fetch_request.h"
#include "protocol/generated/share_fetch_response.h"

namespace klamm::broker {

using namespace protocol;

namespace {

constexpr int16_t kVersionWithModes = 2;
constexpr int8_t kRecordLimit = 1;  // share_acquire_mode: exactly max_records

// What one fetch asks every partition.
struct Terms {
  AcquireTerms acquire;
  int64_t bytes_max = 0;
};

struct Reading {
  SharePartitionKey key;
  ShareReading got;
};

// The part of a fetch that belongs to one shard.
class Part : public ParkedPart {
 public:
  // `terms` are those of the fetch, which outlives it.
  Part(size_t owner, Tell tell, const Terms& terms)
      : ParkedPart(owner, std::move(tell)), terms_(terms) {}

  std::vector<Reading>& readings() { return readings_; }
  bool has_something() const {
    return std::ranges::any_of(readings_, [](const Reading& reading) {
      return !reading.got.acquired.empty() || reading.got.error != ErrorCode::kNone;
    });
  }

 private:
  void read(Broker& broker, bool now_or_never) override {
    AcquireTerms left = terms_.acquire;
    int64_t bytes_left = terms_.bytes_max;
    const auto waits = now_or_never ? std::weak_ptr<replication::Watcher>() : watcher();
    for (Reading& reading : readings_) {
      if (left.records_max <= 0 || bytes_left <= 0) {
        reading.got = {};
        continue;
      }
      reading.got = broker.shares().partitions().read(reading.key, left, bytes_left, waits);
      left.records_max -= reading.got.count();
      bytes_left -= static_cast<int64_t>(reading.got.records.size());
    }
  }

  const Terms& terms_;
  std::vector<Reading> readings_;
};

// One fetch from the arrival of its acknowledgements to its answer; alive while it is parked.
class Fetching : public Parked<Part> {
 public:
  Fetching(RequestContext& context, const ShareFetchRequest& request,
           const std::list<ShareSessions::Place>& places, Reply<ShareFetchResponse> reply)
      : Parked(context.broker),
        listener_(context.listener_name),
        owner_(*request.group_id, *request.member_id),
        terms_{{*request.member_id, request.max_records,
                context.version >= kVersionWithModes && request.share_acquire_mode == kRecordLimit,
                request.batch_size},
               std::min<int64_t>(request.max_bytes,
                                 context.broker.config().number("fetch.max.bytes"))},
        is_last_(request.share_session_epoch == kFinalShareEpoch),
        max_wait_ms_(request.max_wait_ms),
        places_(places.begin(), places.end()),
        reply_(std::move(reply)) {
    // Everybody's turn to be first comes.
    if (!places_.empty() && request.share_session_epoch > 0) {
      std::ranges::rotate(places_, places_.begin() + request.share_session_epoch %
                                                         static_cast<int64_t>(places_.size()));
    }
  }

  void begin(std::vector<AckOutcome> outcomes) {
    outcomes_ = std::move(outcomes);
    if (places_.empty() || is_last_ || terms_.acquire.records_max <= 0 || terms_.bytes_max <= 0) {
      return answer();
    }
    for (const auto& [topic_id, partition] : places_) {
      part_of(broker().owner(topic_id, partition), terms_)
          .readings()
          .push_back({{owner_.first, topic_id, partition}, {}});
    }
    Parked::begin(max_wait_ms_);
  }

 private:
  bool is_wanted() const override { return reply_.is_wanted(); }
  bool has_enough() const override {
    return std::ranges::any_of(parts(), [](const auto& part) { return part->has_something(); });
  }
  void answer() override {
    ShareFetchResponse response;
    response.acquisition_lock_timeout_ms = share_limits(broker(), owner_.first).lock_ms;
    for (const auto& part : parts()) {
      for (Reading& reading : part->readings()) {
        add(reading, response);
      }
    }
    for (const auto& outcome : outcomes_) {
      auto& partition = partition_of(outcome.key, response);
      partition.acknowledge_error_code = outcome.error;
      partition.acknowledge_error_message = text_or_null(outcome.why);
    }
    if (is_last_) {
      broker().shares().close_session(owner_);
    }
    reply_.send(response);
  }

  void add(Reading& reading, ShareFetchResponse& response) {
    if (reading.got.acquired.empty() && reading.got.error == ErrorCode::kNone) {
      return;
    }
    auto& partition = partition_of(reading.key, response);
    partition.error_code = reading.got.error;
    partition.error_message = text_or_null(reading.got.why);
    partition.records = std::move(reading.got.records);
    for (const auto& range : reading.got.acquired) {
      partition.acquired_records.push_back({range.first, range.last, range.deliveries});
    }
    name_leader(broker(), listener_, reading.key, response, partition);
  }

  static ShareFetchResponse::PartitionData& partition_of(const SharePartitionKey& key,
                                                         ShareFetchResponse& response) {
    auto topic = std::ranges::find(response.responses, key.topic_id,
                                   &ShareFetchResponse::ShareFetchableTopicResponse::topic_id);
    if (topic == response.responses.end()) {
      response.responses.push_back({.topic_id = key.topic_id});
      topic = std::prev(response.responses.end());
    }
    const auto known = std::ranges::find(topic->partitions, key.partition,
                                         &ShareFetchResponse::PartitionData::partition_index);
    if (known != topic->partitions.end()) {
      return *known;
    }
    auto& fresh = topic->partitions.emplace_back();
    fresh.partition_index = key.partition;
    return fresh;
  }

  std::string listener_;
  ShareSessions::Owner owner_;
  Terms terms_;
  bool is_last_;
  int32_t max_wait_ms_;
  std::vector<ShareSessions::Place> places_;
  Reply<ShareFetchResponse> reply_;
  std::vector<AckOutcome> outcomes_;
};

Result<> check(const ShareFetchRequest& request, bool renews, bool has_acks) {
  if (!request.group_id || !request.member_id || request.member_id->empty()) {
    return fail(ErrorCode::kInvalidRequest, "The group or the member is not named.");
  }
  if (renews && (request.max_bytes != 0 || request.min_bytes != 0 || request.max_records != 0 ||
                 request.max_wait_ms != 0)) {
    return fail(ErrorCode::kInvalidRequest, "A request that renews locks must not fetch.");
  }
  if (request.share_session_epoch == kInitialShareEpoch && has_acks) {
    return fail(ErrorCode::kInvalidRequest, "Nothing can be acknowledged before a fetch.");
  }
  return {};
}

std::vector<ShareSessions::Place> added_by(const ShareFetchRequest& request) {
  std::vector<ShareSessions::Place> places;
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) {
      places.emplace_back(topic.topic_id, partition.partition_index);
    }
  }
  return places;
}

std::vector<ShareSessions::Place> forgotten_by(const ShareFetchRequest& request) {
  std::vector<ShareSessions::Place> places;
  for (const auto& topic : request.forgotten_topics_data) {
    for (const int32_t partition : topic.partitions) {
      places.emplace_back(topic.topic_id, partition);
    }
  }
  return places;
}

}  // namespace

void handle(RequestContext& context, ShareFetchRequest&& request, Reply<ShareFetchResponse> reply) {
  Broker& broker = context.broker;
  const auto refuse = [&](const Error& error) {
    reply.send({.error_code = error.code, .error_message = text_or_null(error.why)});
  };
  if (!serves_share_groups(broker)) {
    return refuse({ErrorCode::kUnsupportedVersion, {}});
  }
  const bool renews = context.version >= kVersionWithModes && request.is_renew_ack;
  auto acks = take_acks(request, false);
  if (const auto valid = check(request, renews, !acks.empty()); !valid) {
    return refuse(valid.error());
  }
  const auto session = broker.shares().sessions().fetch(
      {*request.group_id, *request.member_id}, request.share_session_epoch, added_by(request),
      forgotten_by(request), reply.connection());
  if (!session) {
    return refuse(session.error());
  }
  broker.shares().watch_sessions();
  const auto fetching =
      std::make_shared<Fetching>(context, request, (*session)->places, std::move(reply));
  // Whom the acknowledgements wake has waited longer, and is to look first.
  acknowledge_all(broker, std::move(acks), *request.member_id, renews,
                  [&broker, fetching](std::vector<AckOutcome> outcomes) {
                    broker.soon([fetching, outcomes = std::move(outcomes)](Broker&) mutable {
                      fetching->begin(std::move(outcomes));
                    });
                  });
}

}  // namespace klamm::broker
