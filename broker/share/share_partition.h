#pragma once
// One partition as a share group reads it (KIP-932): which records are out with whom and until
// when, how often each was delivered, what is done with. A state machine on the partition's leader:
// time comes in as an argument, what has to be kept goes out, and a change counts once it is kept.
//
// Offsets from the start offset to the next one to be handed out lie in stretches, each with one
// state. A stretch whose change is being written is nobody's until the outcome is known.
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "broker/coordinator/share_state/delivery.h"
#include "protocol/base/result.h"

namespace klamm::broker {

struct ShareLimits {
  int32_t lock_ms = 30'000;
  int16_t deliveries_max = 5;
  int64_t locks_max = 2'000;  // records that are out at once, about
  bool renewal = true;
};

// The offsets of a record batch in the log.
struct BatchRange {
  int64_t first = 0;
  int64_t last = 0;
};

// What a member wants.
struct AcquireTerms {
  std::string member_id;
  int64_t records_max = 0;
  bool exactly = false;    // no more than that (else whole batches of the log)
  int64_t batch_size = 0;  // records that are acknowledged together, about
};

struct Acquired {
  int64_t first = 0;
  int64_t last = 0;
  int16_t deliveries = 0;
  bool operator==(const Acquired&) const = default;
};

// What a member says of records that it was given.
enum class AckType : int8_t { kGap = 0, kAccept = 1, kRelease = 2, kReject = 3, kRenew = 4 };
struct Acknowledgement {
  int64_t first = 0;
  int64_t last = 0;
  std::vector<AckType> types;  // one for all, or one for each
};

// A change that is to be kept before it counts.
struct ShareChange {
  uint64_t id = 0;  // 0: nothing is to be kept
  std::vector<DeliveryBatch> batches;
};

class SharePartition {
 public:
  // With what was kept; offsets that it says nothing of had been given out without an outcome.
  SharePartition(int64_t start_offset, const std::vector<DeliveryBatch>& kept);

  int64_t start_offset() const { return start_; }
  // Behind the last offset that was ever given out.
  int64_t next_offset() const { return next_; }
  // Where to look for records: the first that may be given out.
  int64_t fetch_offset() const;
  // How many offsets from the start on are done with.
  int32_t complete_count() const;
  // Whether there is room for new records, or some to be delivered again.
  bool can_acquire(const ShareLimits& limits) const;

  // Gives out records of these batches, which follow each other in the log from fetch_offset() on.
  // Offsets that the log skips are done with.
  std::vector<Acquired> acquire(const AcquireTerms& terms, std::span<const BatchRange> batches,
                                const ShareLimits& limits, int64_t now_ms);
  // Takes a range back that nobody shall see, for its transaction was aborted.
  void archive(const BatchRange& range, std::vector<Acquired>& acquired);
  // INVALID_RECORD_STATE: not out with this member. INVALID_REQUEST: never given out, or a type
  // that there is none of. Then nothing of it counts.
  Result<ShareChange> acknowledge(const std::string& member_id,
                                  std::span<const Acknowledgement> acknowledgements,
                                  const ShareLimits& limits, int64_t now_ms);
  // A member has gone: what is out with it may be given to others.
  ShareChange release(const std::string& member_id, const ShareLimits& limits);
  // What was out for too long may be given to others.
  ShareChange expire(const ShareLimits& limits, int64_t now_ms);
  // Whether nothing is out with anybody, and nothing is being written.
  bool is_idle() const;
  // When the next one will be.
  std::optional<int64_t> next_deadline() const;
  // The change is kept, or could not be.
  void settle(uint64_t change_id, bool is_kept, int64_t now_ms);
  // The log begins there now.
  void advance_start(int64_t log_start);

 private:
  struct Stretch {
    int64_t last = 0;
    DeliveryState state = DeliveryState::kAvailable;
    int16_t deliveries = 0;
    std::string member;        // who has it, while it is acquired
    int64_t locked_until = 0;  // the same
    uint64_t change = 0;       // that is being written, to `next`
    DeliveryState next = DeliveryState::kAvailable;
  };
  using Stretches = std::map<int64_t, Stretch>;

  bool is_free(const Stretch& stretch) const {
    return stretch.state == DeliveryState::kAvailable && stretch.change == 0;
  }
  Stretches::iterator split(int64_t at);
  Result<> check(const std::string& member_id, const Acknowledgement& ack,
                 const ShareLimits& limits) const;
  void begin_change(int64_t first, int64_t last, DeliveryState next, const ShareLimits& limits,
                    ShareChange& change);
  void skip_missing(std::span<const BatchRange> batches);
  int64_t take_free(const AcquireTerms& terms, int64_t from, int64_t to, const ShareLimits& limits,
                    int64_t now_ms, std::vector<Acquired>& acquired);
  void take_new(const AcquireTerms& terms, int64_t count_max, std::span<const BatchRange> batches,
                const ShareLimits& limits, int64_t now_ms, std::vector<Acquired>& acquired);
  void move_start();

  Stretches stretches_;
  int64_t start_;
  int64_t next_;
  uint64_t last_change_ = 0;
};

}  // namespace klamm::broker
