#include "broker/share/share_partition.h"

#include <algorithm>

namespace klamm::broker {

SharePartition::SharePartition(int64_t start_offset, const std::vector<DeliveryBatch>& kept)
    : start_(start_offset), next_(start_offset) {
  for (const auto& batch : kept) {
    if (batch.last < next_) {
      continue;
    }
    const int64_t first = std::max(batch.first, next_);
    if (first > next_) {
      stretches_[next_] = {.last = first - 1};
    }
    stretches_[first] = {.last = batch.last, .state = batch.state, .deliveries = batch.deliveries};
    next_ = batch.last + 1;
  }
  move_start();
}

int64_t SharePartition::fetch_offset() const {
  for (const auto& [first, stretch] : stretches_) {
    if (is_free(stretch)) {
      return first;
    }
  }
  return next_;
}

int32_t SharePartition::complete_count() const {
  int64_t count = 0;
  for (const auto& [first, stretch] : stretches_) {
    if (is_final(stretch.change == 0 ? stretch.state : stretch.next)) {
      count += stretch.last - first + 1;
    }
  }
  return static_cast<int32_t>(count);
}

bool SharePartition::can_acquire(const ShareLimits& limits) const {
  return fetch_offset() < next_ || next_ - start_ < limits.locks_max;
}

// The stretch that begins at `at`, made by cutting if need be; `at` is inside of one.
SharePartition::Stretches::iterator SharePartition::split(int64_t at) {
  auto found = std::prev(stretches_.upper_bound(at));
  if (found->first == at) {
    return found;
  }
  Stretch rest = found->second;
  found->second.last = at - 1;
  return stretches_.emplace(at, std::move(rest)).first;
}

// Compaction has taken records that were never given out, or were to be given out again.
void SharePartition::skip_missing(std::span<const BatchRange> batches) {
  const int64_t to = std::min(batches.front().first, next_);
  const int64_t from = fetch_offset();
  if (from >= to) {
    return;
  }
  split(from);
  if (to < next_) {
    split(to);
  }
  for (auto it = stretches_.find(from); it != stretches_.end() && it->first < to; ++it) {
    if (is_free(it->second)) {
      it->second.state = DeliveryState::kArchived;
    }
  }
}

// Gives out what is to be delivered again in [from, to]. Records that have failed often come few at
// a time, and the last time alone: one of them may be what makes its readers die. The number of
// records given out, or -1 when nothing else may come with them.
int64_t SharePartition::take_free(const AcquireTerms& terms, int64_t from, int64_t to,
                                  const ShareLimits& limits, int64_t now_ms,
                                  std::vector<Acquired>& acquired) {
  const int careful_from = std::max(2, (limits.deliveries_max + 1) / 2);
  int64_t count = 0;
  for (auto it = stretches_.lower_bound(from); it != stretches_.end() && it->first <= to; ++it) {
    if (!is_free(it->second)) {
      continue;
    }
    int64_t room = terms.records_max - count;
    const bool is_careful = it->second.deliveries >= careful_from;
    if (room <= 0 || (is_careful && count > 0)) {
      return -1;
    }
    const int64_t size = it->second.last - it->first + 1;
    if (is_careful) {
      const int halvings = it->second.deliveries - careful_from + 1;
      room = it->second.deliveries + 1 >= limits.deliveries_max
                 ? 1
                 : std::clamp<int64_t>(size >> halvings, 1, room);
    }
    const int64_t last = std::min({it->second.last, to, it->first + room - 1});
    if (last < it->second.last) {
      split(last + 1);
    }
    Stretch& stretch = it->second;
    stretch.state = DeliveryState::kAcquired;
    ++stretch.deliveries;
    stretch.member = terms.member_id;
    stretch.locked_until = now_ms + limits.lock_ms;
    acquired.push_back({it->first, last, stretch.deliveries});
    count += last - it->first + 1;
    if (is_careful) {
      return -1;
    }
  }
  return count;
}

void SharePartition::take_new(const AcquireTerms& terms, int64_t count_max,
                              std::span<const BatchRange> batches, const ShareLimits& limits,
                              int64_t now_ms, std::vector<Acquired>& acquired) {
  const int64_t first = next_;
  int64_t group_first = first;
  int64_t last = first - 1;
  for (const BatchRange& batch : batches) {
    if (batch.last < first) {
      continue;
    }
    if (last - first + 1 >= count_max) {
      break;
    }
    if (!terms.exactly && terms.batch_size > 0 && last >= group_first &&
        batch.first - group_first >= terms.batch_size) {
      acquired.push_back({group_first, batch.first - 1, 1});
      group_first = batch.first;
    }
    last = terms.exactly ? std::min(batch.last, first + count_max - 1) : batch.last;
  }
  if (last < first) {
    return;
  }
  acquired.push_back({group_first, last, 1});
  stretches_[first] = {.last = last,
                       .state = DeliveryState::kAcquired,
                       .deliveries = 1,
                       .member = terms.member_id,
                       .locked_until = now_ms + limits.lock_ms};
  next_ = last + 1;
}

std::vector<Acquired> SharePartition::acquire(const AcquireTerms& terms,
                                              std::span<const BatchRange> batches,
                                              const ShareLimits& limits, int64_t now_ms) {
  std::vector<Acquired> acquired;
  if (batches.empty() || terms.records_max <= 0 || batches.back().last < start_) {
    return acquired;
  }
  skip_missing(batches);
  if (stretches_.empty() && batches.front().first > next_) {
    // Nothing is out: the log's gap needs no room here.
    start_ = next_ = batches.front().first;
  }
  const int64_t taken = take_free(terms, start_, batches.back().last, limits, now_ms, acquired);
  if (taken >= 0) {
    const int64_t room = limits.locks_max - (next_ - start_);
    take_new(terms, std::min(terms.records_max - taken, room), batches, limits, now_ms, acquired);
  }
  move_start();
  return acquired;
}

void SharePartition::archive(const BatchRange& range, std::vector<Acquired>& acquired) {
  std::vector<Acquired> left;
  for (const Acquired& each : acquired) {
    const int64_t first = std::max(each.first, range.first);
    const int64_t last = std::min(each.last, range.last);
    if (first > last) {
      left.push_back(each);
      continue;
    }
    split(first);
    if (last + 1 < next_) {
      split(last + 1);
    }
    for (auto it = stretches_.find(first); it != stretches_.end() && it->first <= last; ++it) {
      it->second.state = DeliveryState::kArchived;
      it->second.member.clear();
    }
    if (each.first < first) {
      left.push_back({each.first, first - 1, each.deliveries});
    }
    if (each.last > last) {
      left.push_back({last + 1, each.last, each.deliveries});
    }
  }
  acquired = std::move(left);
  move_start();
}

// Whether all of it is out with the member. What lies before the start is done with, whatever
// anybody says.
Result<> SharePartition::check(const std::string& member_id, const Acknowledgement& ack,
                               const ShareLimits& limits) const {
  const auto count = static_cast<size_t>(ack.last - ack.first + 1);
  if (ack.last < ack.first || ack.types.empty() ||
      (ack.types.size() != 1 && ack.types.size() != count)) {
    return fail(ErrorCode::kInvalidRequest, "The acknowledged offsets are not a range.");
  }
  for (const AckType type : ack.types) {
    if (type < AckType::kGap || type > AckType::kRenew) {
      return fail(ErrorCode::kInvalidRequest, "There is no such type of acknowledgement.");
    }
    if (type == AckType::kRenew && !limits.renewal) {
      return fail(ErrorCode::kInvalidRecordState, "The group does not let locks be renewed.");
    }
  }
  if (ack.last >= next_) {
    return fail(ErrorCode::kInvalidRequest, "Some of the records were never acquired.");
  }
  if (ack.last < start_) {
    return {};
  }
  auto it = std::prev(stretches_.upper_bound(std::max(ack.first, start_)));
  for (; it != stretches_.end() && it->first <= ack.last; ++it) {
    const Stretch& stretch = it->second;
    if (stretch.state != DeliveryState::kAcquired || stretch.change != 0 ||
        stretch.member != member_id) {
      return fail(ErrorCode::kInvalidRecordState,
                  "Some of the records are not acquired by the member.");
    }
  }
  return {};
}

void SharePartition::begin_change(int64_t first, int64_t last, DeliveryState next,
                                  const ShareLimits& limits, ShareChange& change) {
  if (change.id == 0) {
    change.id = ++last_change_;
  }
  split(first);
  if (last + 1 < next_) {
    split(last + 1);
  }
  for (auto it = stretches_.find(first); it != stretches_.end() && it->first <= last; ++it) {
    Stretch& stretch = it->second;
    stretch.change = change.id;
    stretch.next = next == DeliveryState::kAvailable && stretch.deliveries >= limits.deliveries_max
                       ? DeliveryState::kArchived
                       : next;
    change.batches.push_back({it->first, stretch.last, stretch.next, stretch.deliveries});
  }
}

Result<ShareChange> SharePartition::acknowledge(const std::string& member_id,
                                                std::span<const Acknowledgement> acknowledgements,
                                                const ShareLimits& limits, int64_t now_ms) {
  for (const auto& ack : acknowledgements) {
    TRY_VOID(check(member_id, ack, limits));
  }
  ShareChange change;
  for (const auto& ack : acknowledgements) {
    // Neighbours of one type make one step.
    int64_t first = std::max(ack.first, start_);
    while (first <= ack.last) {
      const auto type_at = [&](int64_t offset) {
        return ack.types.size() == 1 ? ack.types.front()
                                     : ack.types[static_cast<size_t>(offset - ack.first)];
      };
      const AckType type = type_at(first);
      int64_t last = ack.types.size() == 1 ? ack.last : first;
      while (last < ack.last && type_at(last + 1) == type) {
        ++last;
      }
      if (type == AckType::kRenew) {
        split(first);
        if (last + 1 < next_) {
          split(last + 1);
        }
        for (auto it = stretches_.find(first); it != stretches_.end() && it->first <= last; ++it) {
          it->second.locked_until = now_ms + limits.lock_ms;
        }
      } else {
        const DeliveryState next = type == AckType::kAccept    ? DeliveryState::kAcknowledged
                                   : type == AckType::kRelease ? DeliveryState::kAvailable
                                                               : DeliveryState::kArchived;
        // Two ranges of one request may overlap; the first that speaks of an offset counts.
        if (std::prev(stretches_.upper_bound(first))->second.change == 0) {
          begin_change(first, last, next, limits, change);
        }
      }
      first = last + 1;
    }
  }
  return change;
}

ShareChange SharePartition::release(const std::string& member_id, const ShareLimits& limits) {
  ShareChange change;
  for (auto& [first, stretch] : stretches_) {
    if (stretch.state == DeliveryState::kAcquired && stretch.change == 0 &&
        stretch.member == member_id) {
      begin_change(first, stretch.last, DeliveryState::kAvailable, limits, change);
    }
  }
  return change;
}

ShareChange SharePartition::expire(const ShareLimits& limits, int64_t now_ms) {
  ShareChange change;
  for (auto& [first, stretch] : stretches_) {
    if (stretch.state == DeliveryState::kAcquired && stretch.change == 0 &&
        stretch.locked_until <= now_ms) {
      begin_change(first, stretch.last, DeliveryState::kAvailable, limits, change);
    }
  }
  return change;
}

bool SharePartition::is_idle() const {
  return std::ranges::all_of(stretches_, [](const auto& each) {
    return each.second.state != DeliveryState::kAcquired && each.second.change == 0;
  });
}

std::optional<int64_t> SharePartition::next_deadline() const {
  std::optional<int64_t> first;
  for (const auto& [offset, stretch] : stretches_) {
    if (stretch.state == DeliveryState::kAcquired && stretch.change == 0 &&
        (!first || stretch.locked_until < *first)) {
      first = stretch.locked_until;
    }
  }
  return first;
}

void SharePartition::settle(uint64_t change_id, bool is_kept, int64_t now_ms) {
  for (auto& [first, stretch] : stretches_) {
    if (stretch.change != change_id || change_id == 0) {
      continue;
    }
    stretch.change = 0;
    // What could not be kept stays out with its member, as long as its lock lasts.
    if (is_kept || stretch.locked_until <= now_ms) {
      stretch.state = stretch.next;
      stretch.member.clear();
    }
  }
  move_start();
}

void SharePartition::advance_start(int64_t log_start) {
  if (log_start <= start_) {
    return;
  }
  if (log_start < next_) {
    split(log_start);
  }
  stretches_.erase(stretches_.begin(), stretches_.lower_bound(log_start));
  start_ = log_start;
  next_ = std::max(next_, log_start);
  move_start();
}

void SharePartition::move_start() {
  while (!stretches_.empty()) {
    const auto& [first, stretch] = *stretches_.begin();
    if (stretch.change != 0 || !is_final(stretch.state)) {
      break;
    }
    start_ = stretch.last + 1;
    stretches_.erase(stretches_.begin());
  }
  if (stretches_.empty()) {
    start_ = next_;
  }
}

}  // namespace klamm::broker
