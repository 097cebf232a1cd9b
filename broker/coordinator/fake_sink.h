#pragma once
// For tests of coordinator shards: what is appended is replayed at once, and committed at once or
// when the test says so.
#include <functional>
#include <vector>

#include "broker/coordinator/runtime.h"

namespace klamm::broker {

struct FakeSink : RecordSink {
  CoordinatorShard* shard = nullptr;
  std::vector<CoordinatorRecord> log;
  std::vector<RecordPlace> places;  // of the same
  ErrorCode failure = ErrorCode::kNone;
  bool hold = false;
  std::vector<std::function<void(ErrorCode)>> held;
  int64_t now = 1'000'000;

  void append(std::vector<CoordinatorRecord> records,
              std::function<void(ErrorCode)> committed) override {
    append_in_transaction({}, std::move(records), std::move(committed));
  }
  void append_in_transaction(const InTransaction& transaction,
                             std::vector<CoordinatorRecord> records,
                             std::function<void(ErrorCode)> committed) override {
    if (failure != ErrorCode::kNone) {
      return committed(failure);
    }
    for (const auto& record : records) {
      const RecordPlace place{static_cast<int64_t>(log.size()), transaction.producer.id};
      log.push_back(record);
      places.push_back(place);
      shard->replay(record, place, now);
    }
    hold ? held.push_back(std::move(committed)) : committed(ErrorCode::kNone);
  }
  int32_t epoch() const override { return 7; }
  // All that was written, to a second shard or to the next life of the first.
  void replay_into(CoordinatorShard& other, int64_t now_ms) const {
    for (size_t i = 0; i < log.size(); ++i) {
      other.replay(log[i], places[i], now_ms);
    }
  }
};

}  // namespace klamm::broker
