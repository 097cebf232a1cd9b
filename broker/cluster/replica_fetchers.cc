#include "broker/cluster/replica_fetchers.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "broker/cluster/broker_address.h"
#include "replication/metadata/replica_list.h"

namespace klamm::broker {

using namespace protocol;
using replication::PartitionImage;
using replication::TopicImage;
using storage::TopicPartition;

// The session with one leader.
class ReplicaFetchers::Fetcher : public std::enable_shared_from_this<Fetcher> {
 public:
  Fetcher(ReplicaFetchers& all, int32_t leader) : all_(all), leader_(leader) {}

  void add(const Key& key, TopicPartition id) {
    partitions_[key] = {.id = std::move(id)};
    fetch();
  }
  void remove(const Key& key) {
    const auto found = partitions_.find(key);
    if (found != partitions_.end()) {
      if (found->second.told) {
        forgotten_.push_back(key);
      }
      partitions_.erase(found);
    }
    if (unsafe_.erase(key) > 0) {
      fetch_in(0);
    }
  }
  bool empty() const { return partitions_.empty(); }
  void stop() { stopped_ = true; }

 private:
  struct State {
    TopicPartition id;
    std::optional<FetchRequest::FetchPartition> told;  // what the session knows
    int64_t not_before_ms = 0;                         // after an error
    bool opening = false;
  };

  int64_t now() const { return all_.clock_.monotonic_ms(); }

  // Of a replica that is not in sync yet, and that the topic names as one to be bounded.
  bool is_throttled(const TopicPartition& id) const {
    const auto& image = *all_.replicas_.image();
    const PartitionImage* const partition = image.partition(id.topic, id.partition);
    return partition != nullptr && !replication::contains(partition->isr, all_.config_.node_id()) &&
           all_.throttle_.applies(all_.config_, image, id.topic, id.partition);
  }

  // What to ask for a partition, nullopt while its log is not open.
  std::optional<FetchRequest::FetchPartition> wanted(const Key& key, State& state) {
    replication::Partition* const partition = all_.replicas_.find_open(key.topic, key.partition);
    if (partition == nullptr) {
      open(key, state);
      return std::nullopt;
    }
    partition->flush_if_due(all_.clock_.wall_ms());
    if (!partition->is_safe()) {
      wait_for_disk(key, *partition);
      return std::nullopt;
    }
    const storage::Log& log = partition->log();
    FetchRequest::FetchPartition asked;
    asked.partition = key.partition;
    asked.current_leader_epoch = partition->leader_epoch();
    asked.fetch_offset = log.end_offset();
    asked.last_fetched_epoch = log.end_offset() == 0 ? -1 : log.epochs().latest();
    asked.log_start_offset = log.start_offset();
    asked.partition_max_bytes =
        static_cast<int32_t>(all_.config_.number("replica.fetch.max.bytes"));
    return asked;
  }

  // What a follower asks for says what it has, which must be as safe as the topic wants it: else
  // the leader acknowledges what a power cut takes away. Its fetches wait for the flush.
  void wait_for_disk(const Key& key, replication::Partition& partition) {
    unsafe_.insert(key);
    partition.when_written(partition.log().end_offset(),
                           [weak = weak_from_this(), key](ErrorCode code) {
                             const auto self = weak.lock();
                             if (self && self->unsafe_.erase(key) > 0) {
                               self->fetch_in(code == ErrorCode::kNone ? 0 : kBackoffMs);
                             }
                           });
  }

  void open(const Key& key, State& state) {
    if (std::exchange(state.opening, true)) {
      return;
    }
    all_.replicas_.open_in_background(
        state.id, [weak = weak_from_this(), key](const Result<bool>& opened) {
          const auto self = weak.lock();
          const auto found =
              self ? self->partitions_.find(key) : decltype(self->partitions_.find(key)){};
          if (!self || found == self->partitions_.end()) {
            return;
          }
          found->second.opening = false;
          if (!opened) {
            spdlog::error("cannot open {} to follow its leader: {}", found->second.id.directory(),
                          opened.error().why);
            found->second.not_before_ms = self->now() + kOpenRetryMs;
          } else if (self->all_.replicas_.find_open(key.topic, key.partition) == nullptr) {
            found->second.not_before_ms = self->now() + kBackoffMs;  // somebody else is at it
          }
          // Not at once: this may be called while a request is being put together, and a second one
          // on its way beside it would have its answers taken for those of the first.
          self->fetch_in(0);
        });
  }

  void fetch_in(int64_t wait_ms) {
    all_.timers_.after(all_.clock_, wait_ms, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->fetch();
      }
    });
  }

  void fetch() {
    if (stopped_ || asking_ || partitions_.empty() || !unsafe_.empty()) {
      return;
    }
    const auto address = address_of(*all_.replicas_.image(), leader_, all_.listener_);
    if (!address) {
      return fetch_in(kBackoffMs);
    }
    FetchRequest request;
    request.replica_state = {all_.config_.node_id(), all_.broker_epoch_()};
    request.max_wait_ms = static_cast<int32_t>(all_.config_.number("replica.fetch.wait.max.ms"));
    request.min_bytes = static_cast<int32_t>(all_.config_.number("replica.fetch.min.bytes"));
    request.max_bytes =
        static_cast<int32_t>(all_.config_.number("replica.fetch.response.max.bytes"));
    request.session_id = session_id_;
    request.session_epoch = session_epoch_;
    if (!gather(request)) {
      return;  // nothing is open yet, or all wait after an error
    }
    asking_ = true;
    constexpr int16_t kVersionWithReplicaState = 15;
    replication::call<FetchResponse>(
        all_.transport_, *address, std::move(request),
        all_.config_.number("replica.socket.timeout.ms"),
        [weak = weak_from_this()](Result<FetchResponse> answer) {
          if (const auto self = weak.lock()) {
            self->on_answer(std::move(answer));
          }
        },
        kVersionWithReplicaState);
  }

  // Puts into the request what the session does not know yet. False when it has no partition.
  bool gather(FetchRequest& request) {
    size_t active = 0;
    int64_t soonest_ms = INT64_MAX;
    const bool is_exceeded = all_.throttle_.is_exceeded(all_.config_, now());
    for (auto& [key, state] : partitions_) {
      if (is_exceeded && is_throttled(state.id)) {
        state.not_before_ms = now() + kBackoffMs;
      }
      if (state.not_before_ms > now()) {
        soonest_ms = std::min(soonest_ms, state.not_before_ms);
        forget(key, state, request);
        continue;
      }
      auto asked = wanted(key, state);
      if (!asked) {
        forget(key, state, request);
        continue;
      }
      ++active;
      if (state.told == asked) {
        continue;
      }
      auto& topics = request.topics;
      if (topics.empty() || topics.back().topic_id != key.topic) {
        topics.push_back({.topic_id = key.topic});
      }
      topics.back().partitions.push_back(*asked);
      state.told = std::move(asked);
    }
    for (const Key& key : std::exchange(forgotten_, {})) {
      const auto back = partitions_.find(key);
      if (back != partitions_.end() && back->second.told) {
        continue;  // the leader forgets after it has added
      }
      request.forgotten_topics_data.push_back(
          {.topic_id = key.topic, .partitions = {key.partition}});
    }
    if (soonest_ms != INT64_MAX) {
      fetch_in(soonest_ms - now());
    }
    return active > 0;
  }
  static void forget(const Key& key, State& state, FetchRequest& request) {
    if (state.told) {
      state.told.reset();
      request.forgotten_topics_data.push_back(
          {.topic_id = key.topic, .partitions = {key.partition}});
    }
  }

  void begin_session_anew() {
    session_id_ = 0;
    session_epoch_ = 0;
    forgotten_.clear();
    for (auto& [key, state] : partitions_) {
      state.told.reset();
    }
  }

  void on_answer(Result<FetchResponse> answer) {
    asking_ = false;
    if (stopped_) {
      return;
    }
    if (!answer || answer->error_code != ErrorCode::kNone) {
      begin_session_anew();
      return fetch_in(kBackoffMs);
    }
    session_id_ = answer->session_id;
    session_epoch_ = session_id_ == 0 ? 0 : session_epoch_ + 1;
    for (const auto& topic : answer->responses) {
      for (const auto& partition : topic.partitions) {
        take({topic.topic_id, partition.partition_index}, partition);
      }
    }
    if (session_id_ == 0) {
      begin_session_anew();
    }
    fetch();
  }

  void take(const Key& key, const FetchResponse::PartitionData& answer) {
    const auto found = partitions_.find(key);
    replication::Partition* const partition =
        found == partitions_.end() ? nullptr : all_.replicas_.find_open(key.topic, key.partition);
    if (partition == nullptr || partition->is_leader() || !found->second.told ||
        found->second.told->current_leader_epoch != partition->leader_epoch() ||
        found->second.told->fetch_offset != partition->log().end_offset()) {
      return;  // the answer to a question that is no longer asked
    }
    State& state = found->second;
    const int64_t wall = all_.clock_.wall_ms();
    Result<> done;
    if (answer.error_code == ErrorCode::kOffsetOutOfRange) {
      done = catch_up_with_start(*partition, answer.log_start_offset);
    } else if (answer.error_code != ErrorCode::kNone) {
      state.not_before_ms = now() + kBackoffMs;
      return;
    } else if (answer.diverging_epoch.epoch >= 0) {
      done = partition->truncate(answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset,
                                 wall);
    } else {
      if (answer.records && is_throttled(state.id)) {
        all_.throttle_.record(static_cast<int64_t>(answer.records->size()), now());
      }
      done = partition->append_fetched(answer.records ? answer.records->bytes() : Bytes(),
                                       answer.high_watermark, answer.log_start_offset, wall);
    }
    if (!done) {
      spdlog::error("cannot follow the leader of {}: {}", state.id.directory(), done.error().why);
      state.not_before_ms = now() + kOpenRetryMs;
    } else if (!partition->is_safe()) {
      wait_for_disk(key, *partition);
    }
  }

  // The leader has nothing at the end of this log any more, or less than this log has.
  static Result<> catch_up_with_start(replication::Partition& partition, int64_t leader_start) {
    return leader_start > partition.log().end_offset() ? partition.begin_again_at(leader_start)
                                                       : Result<>();
  }

  static constexpr int64_t kBackoffMs = 100;
  static constexpr int64_t kOpenRetryMs = 1'000;

  ReplicaFetchers& all_;
  int32_t leader_;
  std::map<Key, State> partitions_;
  std::vector<Key> forgotten_;
  std::set<Key> unsafe_;  // partitions that wait for their flush
  int32_t session_id_ = 0;
  int32_t session_epoch_ = 0;
  bool asking_ = false;
  bool stopped_ = false;
};

ReplicaFetchers::ReplicaFetchers(const BrokerConfig& config, Throttle& throttle, Replicas& replicas,
                                 replication::Transport& transport, Timers& timers,
                                 const storage::Clock& clock, std::function<int64_t()> broker_epoch)
    : config_(config),
      throttle_(throttle),
      replicas_(replicas),
      transport_(transport),
      timers_(timers),
      clock_(clock),
      broker_epoch_(std::move(broker_epoch)),
      listener_(config.inter_broker_listener()) {}

ReplicaFetchers::~ReplicaFetchers() = default;

void ReplicaFetchers::follow(const ImagePtr& before, const ImagePtr& now) {
  if (before->topics == now->topics) {
    return;
  }
  for (const auto& [id, topic] : before->topics->by_id) {
    if (!now->topics->by_id.contains(id)) {
      for (const auto& [index, unused] : topic->partitions) {
        assign(*topic, index, nullptr);
      }
    }
  }
  for (const auto& [id, topic] : now->topics->by_id) {
    const auto known = before->topics->by_id.find(id);
    if (known != before->topics->by_id.end() && known->second == topic) {
      continue;
    }
    for (const auto& [index, partition] : topic->partitions) {
      assign(*topic, index, &partition);
    }
  }
}

void ReplicaFetchers::assign(const TopicImage& topic, int32_t index, const PartitionImage* image) {
  if (!replicas_.owns(topic.id, index)) {
    return;
  }
  const int32_t self = config_.node_id();
  const bool follows =
      image != nullptr && image->leader >= 0 && image->leader != self &&
      std::find(image->replicas.begin(), image->replicas.end(), self) != image->replicas.end();
  set_leader({topic.id, index}, {topic.name, index}, follows ? image->leader : -1);
}

void ReplicaFetchers::set_leader(const Key& key, const TopicPartition& id, int32_t leader) {
  const auto known = leaders_.find(key);
  const int32_t before = known == leaders_.end() ? -1 : known->second;
  if (before == leader) {
    return;
  }
  if (before >= 0) {
    const auto fetcher = fetchers_.find(before);
    fetcher->second->remove(key);
    if (fetcher->second->empty()) {
      fetcher->second->stop();
      fetchers_.erase(fetcher);
    }
    leaders_.erase(key);
  }
  if (leader >= 0) {
    leaders_[key] = leader;
    auto& fetcher = fetchers_[leader];
    if (fetcher == nullptr) {
      fetcher = std::make_shared<Fetcher>(*this, leader);
    }
    fetcher->add(key, id);
  }
}

}  // namespace klamm::broker
