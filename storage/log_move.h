#pragma once
// Copies a log into another directory while it is in use (AlterReplicaLogDirs, KIP-113), in slices
// whose size the caller chooses. The copy lives in a folder that ends in -future until it takes the
// place of the original.
#include <cstdint>
#include <memory>
#include <string>

#include "storage/log.h"

namespace klamm::storage {

class LogMove {
 public:
  // Opens the copy in `folder` of another disk, new or as far as an earlier run has brought it.
  static Result<std::unique_ptr<LogMove>> begin(Disk& to, std::string folder, Log& from,
                                                int64_t now_ms);
  // Copies about `budget` bytes. True once the copy has all that the original has.
  Result<bool> step(Log& from, uint64_t budget, int64_t now_ms);

  bool is_whole() const { return copy_ != nullptr; }  // not taken yet
  Log& copy() { return *copy_; }
  int64_t lag(const Log& from) const { return from.end_offset() - copy_->end_offset(); }
  // The whole copy, for the original's place. Not to be used after.
  std::unique_ptr<Log> take() { return std::move(copy_); }

 private:
  explicit LogMove(std::unique_ptr<Log> copy) : copy_(std::move(copy)) {}

  std::unique_ptr<Log> copy_;
};

}  // namespace klamm::storage
