// ShareFetch (key 78), v1-2 (KIP-932).   v2: how records are acquired (KIP-1206), renewal of locks
// (KIP-1222).   First takes the acknowledgements that came along, then acquires records of the
// session's partitions, of each leader that is here; waits until there are some or max_wait_ms are
// over.
#include <functional>
#include <memory>

#include "broker/cluster/broker_address.h"
#include "broker/handlers/groups/group_protocols.h"
#include "broker/handlers/handlers.h"
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

// The part of a fetch that belongs to one shard; see Fetching.
class Part : public replication::Watcher, public std::enable_shared_from_this<Part> {
 public:
  Part(size_t owner, std::function<void(Broker& owner)> news)
      : owner_(owner), news_(std::move(news)) {}

  size_t owner() const { return owner_; }
  std::vector<Reading>& readings() { return readings_; }
  bool has_something() const {
    return std::ranges::any_of(readings_, [](const Reading& reading) {
      return !reading.got.acquired.empty() || reading.got.error != ErrorCode::kNone;
    });
  }

  // On the owner's shard.
  void read_all(Broker& broker, const Terms& terms, bool now_or_never) {
    broker_ = &broker;
    AcquireTerms left = terms.acquire;
    int64_t bytes_left = terms.bytes_max;
    const auto watcher = now_or_never ? std::weak_ptr<Part>() : weak_from_this();
    for (Reading& reading : readings_) {
      if (left.records_max <= 0 || bytes_left <= 0) {
        reading.got = {};
        continue;
      }
      reading.got = broker.shares().partitions().read(reading.key, left, bytes_left, watcher);
      left.records_max -= reading.got.count();
      bytes_left -= static_cast<int64_t>(reading.got.records.size());
    }
  }
  void notify() override { news_(*broker_); }

 private:
  size_t owner_;
  std::function<void(Broker& owner)> news_;
  Broker* broker_ = nullptr;
  std::vector<Reading> readings_;
};

// One fetch from the arrival of its acknowledgements to its answer; alive while it is parked.
class Fetching : public std::enable_shared_from_this<Fetching> {
 public:
  Fetching(RequestContext& context, const ShareFetchRequest& request,
           const std::list<ShareSessions::Place>& places, Reply<ShareFetchResponse> reply)
      : broker_(context.broker),
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
      part_of(broker_.owner(topic_id, partition))
          .readings()
          .push_back({{owner_.first, topic_id, partition}, {}});
    }
    last_try_ = max_wait_ms_ <= 0;
    ask();
    if (!answered_ && !last_try_) {
      timer_ = broker_.timers().after(broker_.clock(), max_wait_ms_, [self = shared_from_this()] {
        self->timer_.reset();
        self->last_try_ = true;
        self->ask();
      });
    }
  }

 private:
  Part& part_of(size_t owner) {
    for (const auto& part : parts_) {
      if (part->owner() == owner) {
        return *part;
      }
    }
    const auto news = [weak = weak_from_this(), home = broker_.shard()](Broker& there) {
      there.at(home, [weak](Broker&) {
        if (const auto self = weak.lock()) {
          self->ask();
        }
      });
    };
    parts_.push_back(std::make_shared<Part>(owner, news));
    return *parts_.back();
  }

  // Has every part read. News that arrives while they do so is looked at afterwards. A client that
  // has gone is given nothing: it could not give it back.
  void ask() {
    if (answered_) {
      return;
    }
    if (open_ > 0) {
      again_ = true;
      return;
    }
    if (!reply_.is_wanted()) {
      answered_ = true;
      return;
    }
    again_ = false;
    open_ = parts_.size() + 1;
    for (const auto& part : parts_) {
      broker_.at(part->owner(), [part, self = shared_from_this(), home = broker_.shard(),
                                 last_try = last_try_](Broker& there) mutable {
        part->read_all(there, self->terms_, last_try);
        there.at(home, [self = std::move(self)](Broker&) { self->finish_one(); });
      });
    }
    finish_one();
  }
  void finish_one() {
    if (--open_ > 0) {
      return;
    }
    if (last_try_ ||
        std::ranges::any_of(parts_, [](const auto& part) { return part->has_something(); })) {
      answer();
    } else if (again_) {
      ask();
    }
  }

  void answer() {
    answered_ = true;
    if (timer_) {
      broker_.timers().cancel(*timer_);
    }
    ShareFetchResponse response;
    response.acquisition_lock_timeout_ms = share_limits(broker_, owner_.first).lock_ms;
    for (const auto& part : parts_) {
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
      broker_.shares().close_session(owner_);
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
    name_leader(broker_, listener_, reading.key, response, partition);
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

  Broker& broker_;
  std::string listener_;
  ShareSessions::Owner owner_;
  Terms terms_;
  bool is_last_;
  int32_t max_wait_ms_;
  std::vector<ShareSessions::Place> places_;
  Reply<ShareFetchResponse> reply_;
  std::vector<AckOutcome> outcomes_;
  std::vector<std::shared_ptr<Part>> parts_;
  size_t open_ = 0;     // parts that are reading, and the one who asks them
  bool again_ = false;  // there were news meanwhile
  bool last_try_ = false;
  std::optional<Timers::Id> timer_;
  bool answered_ = false;
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
  acknowledge_all(
      broker, std::move(acks), *request.member_id, renews,
      [fetching](std::vector<AckOutcome> outcomes) { fetching->begin(std::move(outcomes)); });
}

}  // namespace klamm::broker
