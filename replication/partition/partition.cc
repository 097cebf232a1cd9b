#include "replication/partition/partition.h"

#include <algorithm>

#include "replication/metadata/replica_list.h"

namespace klamm::replication {

Partition::Partition(storage::TopicPartition id, Uuid topic_id, std::unique_ptr<storage::Log> log,
                     storage::Background& background, PartitionOptions options)
    : id_(std::move(id)),
      topic_id_(topic_id),
      log_(std::move(log)),
      background_(background),
      options_(std::move(options)) {
  high_watermark_ = std::clamp(options_.high_watermark, log_->start_offset(), log_->end_offset());
}

ErrorCode Partition::check_epoch(int32_t requested) const {
  if (requested < 0 || requested == leader_epoch_) {
    return ErrorCode::kNone;
  }
  return requested < leader_epoch_ ? ErrorCode::kFencedLeaderEpoch : ErrorCode::kUnknownLeaderEpoch;
}

void Partition::update(const PartitionImage& image, int64_t now_ms) {
  replicas_ = image.replicas;
  recovery_state_ = image.recovery_state;
  if (image.partition_epoch > partition_epoch_) {
    partition_epoch_ = image.partition_epoch;
    isr_ = image.isr;
    proposed_.reset();
  }
  image.leader == options_.node_id ? lead(image, now_ms) : follow(image);
}

void Partition::lead(const PartitionImage& image, int64_t now_ms) {
  if (!is_leader_ || image.leader_epoch != leader_epoch_) {
    // Whoever waits for an older epoch's records cannot know what became of them.
    refuse_waiting(ErrorCode::kNotLeaderOrFollower);
    is_leader_ = true;
    leader_ = options_.node_id;
    leader_epoch_ = image.leader_epoch;
    epoch_start_ = log_->end_offset();
    log_->begin_epoch(leader_epoch_);
    followers_.clear();
    proposed_.reset();  // nobody answers what was asked in another epoch
  }
  std::erase_if(followers_,
                [this](const auto& entry) { return !contains(replicas_, entry.first); });
  for (const int32_t id : replicas_) {
    if (id != options_.node_id) {
      followers_.try_emplace(id, Follower{.last_caught_up_ms = now_ms});
    }
  }
  if (recovery_state_ != 0) {
    propose(isr_);
  }
  advance(now_ms);
}

void Partition::follow(const PartitionImage& image) {
  const bool led = std::exchange(is_leader_, false);
  const bool changed = led || image.leader_epoch != leader_epoch_ || image.leader != leader_;
  leader_ = image.leader;
  leader_epoch_ = image.leader_epoch;
  followers_.clear();
  proposed_.reset();
  if (changed) {
    refuse_waiting(ErrorCode::kNotLeaderOrFollower);
    notify_all();
  }
}

size_t Partition::min_isr() const {
  return std::min(static_cast<size_t>(std::max(log_->config().min_insync_replicas, 1)),
                  std::max<size_t>(replicas_.size(), 1));
}

Result<storage::AppendInfo> Partition::append(protocol::Bytes batch, int16_t acks, int64_t now_ms,
                                              const storage::AppendOrigin& origin) {
  if (!is_leader_) {
    return fail(ErrorCode::kNotLeaderOrFollower, "this broker does not lead the partition");
  }
  if (acks == -1 && isr_.size() < min_isr()) {
    return fail(
        ErrorCode::kNotEnoughReplicas,
        "The size of the current ISR is insufficient to satisfy the min.isr requirement of " +
            std::to_string(log_->config().min_insync_replicas) + " for partition " +
            id_.directory());
  }
  TRY(const auto info, log_->append_as_leader(std::move(batch), leader_epoch_, now_ms, origin));
  if (!info.duplicate) {
    flush_demanded_to_ = log_->flush_is_demanded() ? log_->end_offset() : flush_demanded_to_;
    flush_if_due(now_ms);
    advance(now_ms);
    notify(end_watchers_);
  }
  return info;
}

// Up to where this log is as safe as the topic wants it.
int64_t Partition::safe_end() const {
  const int64_t flushed = log_->recovery_point();
  return flushed >= flush_demanded_to_ ? log_->end_offset() : flushed;
}

// Below it no replica has records that it could bring back when it leads; one whose broker is gone
// cuts its log when it comes back.
int64_t Partition::low_watermark() const {
  int64_t low = log_->start_offset();
  for (const auto& [id, follower] : followers_) {
    if (options_.is_eligible(id, -1)) {
      low = std::min(low, follower.log_start);
    }
  }
  return low;
}

void Partition::note_start(int32_t broker, int64_t log_start) {
  if (const auto found = followers_.find(broker); found != followers_.end()) {
    found->second.log_start = log_start;
    release_deleting();
  }
}

void Partition::advance(int64_t now_ms) {
  release(writing_, safe_end());
  if (!is_leader_) {
    return;
  }
  release_deleting();
  advance_high_watermark(now_ms);
}

// A follower that is caught up but not in the ISR yet is waited for too: it is about to be. Not one
// that the controller has fenced, which would hold everything up until it counts as lagging.
void Partition::advance_high_watermark(int64_t now_ms) {
  if (isr_.size() < min_isr()) {
    return;
  }
  int64_t common = safe_end();
  for (const auto& [id, follower] : followers_) {
    const bool in_isr = contains(isr_, id) || (proposed_ && contains(*proposed_, id));
    const bool is_near =
        follower.end_offset >= high_watermark_ && follower.end_offset >= epoch_start_ &&
        now_ms - follower.last_caught_up_ms <= options_.lag_time_max_ms &&
        follower.last_fetch_ms > 0 && options_.is_eligible(id, follower.broker_epoch);
    if (in_isr || is_near) {
      common = std::min(common, follower.end_offset);
    }
  }
  if (common <= high_watermark_) {
    return;
  }
  high_watermark_ = common;
  release(waiting_, high_watermark_);
  notify(watchers_);
}

void Partition::wait(Waiting& list, int64_t reached, int64_t end, Committed callback) {
  if (end <= reached) {
    return callback(ErrorCode::kNone);
  }
  const auto behind = [](int64_t offset, const auto& waiter) { return offset < waiter.first; };
  list.emplace(std::upper_bound(list.begin(), list.end(), end, behind), end, std::move(callback));
}

void Partition::release_deleting() {
  if (!deleting_.empty()) {
    release(deleting_, low_watermark());
  }
}

// A callback may append, and wait again.
void Partition::release(Waiting& list, int64_t reached) {
  const auto still = std::find_if(list.begin(), list.end(),
                                  [reached](const auto& waiter) { return waiter.first > reached; });
  Waiting done(std::make_move_iterator(list.begin()), std::make_move_iterator(still));
  list.erase(list.begin(), still);
  for (auto& [end, callback] : done) {
    callback(ErrorCode::kNone);
  }
}

void Partition::refuse_waiting(ErrorCode why) {
  for (auto* const list : {&writing_, &waiting_, &deleting_}) {
    for (auto& [end, callback] : std::exchange(*list, {})) {
      callback(why);
    }
  }
}

ErrorCode Partition::note_fetch(int32_t broker, int64_t broker_epoch, int64_t offset,
                                int64_t now_ms) {
  const auto found = followers_.find(broker);
  if (found == followers_.end()) {
    return ErrorCode::kUnknownTopicOrPartition;
  }
  Follower& follower = found->second;
  if (broker_epoch >= 0 && broker_epoch < follower.broker_epoch) {
    return ErrorCode::kStaleBrokerEpoch;  // of its former life
  }
  const int64_t end = log_->end_offset();
  if (offset >= end) {
    follower.last_caught_up_ms = now_ms;
  } else if (follower.last_fetch_leader_end >= 0 && offset >= follower.last_fetch_leader_end) {
    follower.last_caught_up_ms = std::max(follower.last_caught_up_ms, follower.last_fetch_ms);
  }
  follower.end_offset = offset;
  follower.last_fetch_ms = std::max<int64_t>(now_ms, 1);
  follower.last_fetch_leader_end = end;
  follower.broker_epoch = broker_epoch;
  if (!propose_again() && !contains(isr_, broker)) {
    expand_isr(broker);
  }
  advance_high_watermark(now_ms);
  return ErrorCode::kNone;
}

void Partition::expand_isr(int32_t broker) {
  const Follower& follower = followers_.at(broker);
  if (!proposed_ && follower.end_offset >= high_watermark_ && follower.end_offset >= epoch_start_ &&
      options_.is_eligible(broker, follower.broker_epoch)) {
    std::vector<int32_t> isr = isr_;
    isr.push_back(broker);
    propose(std::move(isr));
  }
}

void Partition::shrink_isr(int64_t now_ms) {
  if (!is_leader_ || propose_again() || proposed_) {
    return;
  }
  std::vector<int32_t> isr;
  for (const int32_t id : isr_) {
    const auto found = followers_.find(id);
    const bool lags = found != followers_.end() && found->second.end_offset < log_->end_offset() &&
                      now_ms - found->second.last_caught_up_ms > options_.lag_time_max_ms;
    if (!lags) {
      isr.push_back(id);
    }
  }
  if (isr.size() < isr_.size()) {
    propose(std::move(isr));
  }
}

void Partition::propose(std::vector<int32_t> isr) {
  IsrProposal proposal{.topic_id = topic_id_,
                       .partition = id_.partition,
                       .leader_epoch = leader_epoch_,
                       .partition_epoch = partition_epoch_};
  for (const int32_t id : isr) {
    const auto follower = followers_.find(id);
    proposal.isr.push_back(
        {.broker_id = id,
         .broker_epoch = follower == followers_.end() ? -1 : follower->second.broker_epoch});
  }
  proposed_ = std::move(isr);
  proposal_is_open_ = false;
  options_.propose(proposal);
}

bool Partition::propose_again() {
  const bool open = proposed_ && proposal_is_open_;
  if (open) {
    propose(*proposed_);
  }
  return open;
}

void Partition::on_proposed(ErrorCode code, int32_t leader_epoch, const std::vector<int32_t>& isr,
                            int32_t partition_epoch, int64_t now_ms) {
  if (!is_leader_ || leader_epoch != leader_epoch_ || !proposed_) {
    return;
  }
  switch (code) {
    case ErrorCode::kNone:
      if (partition_epoch >= partition_epoch_) {
        isr_ = isr;
        partition_epoch_ = partition_epoch;
        recovery_state_ = 0;
      }
      proposed_.reset();
      break;
    case ErrorCode::kIneligibleReplica:
    case ErrorCode::kOperationNotAttempted:
      proposed_.reset();  // surely not written
      break;
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kNewLeaderElected:
    case ErrorCode::kInvalidUpdateVersion:
    case ErrorCode::kInvalidRequest:
    case ErrorCode::kUnknownTopicId:
    case ErrorCode::kUnknownTopicOrPartition:
      break;  // the metadata that are on their way will tell
    default: proposal_is_open_ = true;
  }
  advance(now_ms);
}

Result<> Partition::append_fetched(const protocol::Bytes& records, int64_t leader_high_watermark,
                                   int64_t leader_start, int64_t now_ms) {
  size_t at = 0;
  while (at < records.size()) {
    const auto batch = protocol::BatchView::parse(records.span().subspan(at));
    if (!batch) {
      break;  // cut off by the size limit
    }
    if (!batch->crc_matches()) {
      return fail(ErrorCode::kCorruptMessage,
                  "the leader of " + id_.directory() + " sent a damaged batch");
    }
    if (batch->next_offset() > log_->end_offset()) {
      TRY_VOID(log_->append_as_follower(records.slice(at, batch->size()), now_ms));
    }
    at += batch->size();
  }
  flush_demanded_to_ = log_->flush_is_demanded() ? log_->end_offset() : flush_demanded_to_;
  flush_if_due(now_ms);
  const int64_t before = high_watermark_;
  high_watermark_ = std::max(high_watermark_, std::min(leader_high_watermark, log_->end_offset()));
  if (leader_start > log_->start_offset() && leader_start <= log_->end_offset()) {
    TRY_VOID(log_->advance_start(leader_start, now_ms));
    high_watermark_ = std::max(high_watermark_, leader_start);
  }
  if (high_watermark_ > before) {
    notify(watchers_);
  }
  return {};
}

Result<> Partition::truncate(int32_t epoch, int64_t end_offset, int64_t now_ms) {
  const auto ours = log_->epochs().end_of(epoch, log_->end_offset());
  int64_t to = ours.epoch < 0 ? log_->start_offset() : ours.start_offset;
  if (ours.epoch == epoch) {
    to = std::min(to, end_offset);
  }
  to = std::max(to, log_->start_offset());
  TRY_VOID(log_->truncate_to(to));
  high_watermark_ = std::min(high_watermark_, log_->end_offset());
  flush_demanded_to_ = std::min(flush_demanded_to_, log_->end_offset());
  flush_if_due(now_ms);
  return {};
}

Result<> Partition::begin_again_at(int64_t offset) {
  TRY_VOID(log_->begin_again_at(offset));
  high_watermark_ = offset;
  flush_demanded_to_ = 0;
  return {};
}

void Partition::flush_if_due(int64_t now_ms) {
  // What was appended under a promise is flushed even if the configuration asks for it no longer.
  const bool is_promised =
      log_->recovery_point() < std::min(flush_demanded_to_, log_->end_offset());
  if (flushing_ || (!is_promised && !log_->flush_is_due(now_ms))) {
    return;
  }
  auto begun = log_->begin_flush(now_ms);
  if (!begun) {
    return refuse_waiting(begun.error().code);
  }
  flushing_ = true;
  const auto flush = std::make_shared<storage::LogFlush>(std::move(*begun));
  background_.run([flush] { return flush->run(); },
                  [weak = weak_from_this(), flush, now_ms](const Result<>& outcome) {
                    if (const auto self = weak.lock()) {
                      self->flushed(std::move(*flush), outcome, now_ms);
                    }
                  });
}

void Partition::flushed(storage::LogFlush flush, const Result<>& outcome, int64_t now_ms) {
  flushing_ = false;
  if (flushed_) {
    return std::exchange(flushed_, nullptr)();
  }
  const bool seals_segment = flush.seals_segment();
  log_->finish_flush(std::move(flush), outcome);
  if (outcome && seals_segment) {
    options_.on_synced();
  }
  if (!outcome) {
    return refuse_waiting(outcome.error().code);
  }
  advance(now_ms);
  flush_if_due(now_ms);
}

void Partition::shut_down(ErrorCode why) {
  refuse_waiting(why);
  notify_all();
}

void Partition::watch(std::weak_ptr<Watcher> watcher, bool of_end) {
  auto& list = of_end ? end_watchers_ : watchers_;
  // Watchers that were answered meanwhile are swept when the list would have to grow.
  constexpr size_t kFew = 64;
  if (list.size() >= kFew && list.size() == list.capacity()) {
    std::erase_if(list, [](const auto& old) { return old.expired(); });
    list.reserve(2 * list.size());
  }
  list.push_back(std::move(watcher));
}

void Partition::notify(std::vector<std::weak_ptr<Watcher>>& watchers) {
  if (watchers.empty()) {
    return;
  }
  const auto told = std::exchange(watchers, {});
  for (const auto& watcher : told) {
    if (const auto alive = watcher.lock()) {
      alive->notify();
    }
  }
}

void Partition::notify_all() {
  notify(watchers_);
  notify(end_watchers_);
}

}  // namespace klamm::replication
