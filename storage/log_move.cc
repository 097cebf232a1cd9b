#include "storage/log_move.h"

#include <algorithm>

namespace klamm::storage {

using protocol::BatchView;
using protocol::Bytes;

Result<std::unique_ptr<LogMove>> LogMove::begin(Disk& to, std::string folder, Log& from,
                                                int64_t now_ms) {
  TRY(auto copy, Log::open(to, std::move(folder), from.config(),
                           {.log_start_offset = from.start_offset(), .now_ms = now_ms}));
  return std::unique_ptr<LogMove>(new LogMove(std::move(copy)));
}

Result<bool> LogMove::step(Log& from, uint64_t budget, int64_t now_ms) {
  if (from.start_offset() > copy_->end_offset()) {
    TRY_VOID(copy_->begin_again_at(from.start_offset()));
  }
  Result<> appended;
  uint64_t copied = 0;
  TRY_VOID(from.visit(copy_->end_offset(), [&](const BatchView& batch) {
    if (batch.last_offset() >= copy_->end_offset()) {
      appended = copy_->append_as_follower(Bytes::copy_of(batch.bytes()), now_ms);
      copied += batch.size();
    }
    return appended.has_value() && copied < budget;
  }));
  TRY_VOID(std::move(appended));
  // What compaction has taken from the end of the original leaves no batch to copy.
  if (copied == 0 && copy_->end_offset() < from.end_offset()) {
    return fail(ErrorCode::kCorruptMessage, "the end of " + from.folder() + " cannot be read");
  }
  TRY_VOID(copy_->advance_start(std::min(from.start_offset(), copy_->end_offset()), now_ms));
  return copy_->end_offset() >= from.end_offset();
}

}  // namespace klamm::storage
