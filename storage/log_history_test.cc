// Random histories of one log against a model: appends, flushes, truncations, a moving start, clean
// stops, kills, power cuts and failing calls. The seed makes the history.
#include <catch2/catch.hpp>
#include <map>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

constexpr int64_t kNow = 1'800'000'000'000;

class History {
 public:
  explicit History(uint64_t seed) : disk_(seed), random_(seed) { reopen(false); }

  void step() {
    switch (random_.next() % 16) {
      case 0: return flush();
      case 1: return advance_start();
      case 2: return truncate();
      case 3: return stop();
      case 4: return reopen(false);  // after a kill
      case 5: return cut_power();
      case 6: return fail_something();
      default: return append();
    }
  }
  // What the log holds is what the model holds, wherever one begins to read.
  void check() {
    REQUIRE(log_->end_offset() == end_);
    CHECK(log_->start_offset() == start_);
    const int64_t from = start_ + static_cast<int64_t>(random_.next() % 5);
    std::string expected;
    for (const auto& [base, bytes] : batches_) {
      const auto batch = protocol::BatchView::parse(span_of(bytes));
      expected += batch->last_offset() >= from ? bytes : "";
    }
    if (from <= end_) {
      CHECK(read_all(*log_, from) == expected);
    }
  }

 private:
  int64_t pick(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_.next() % static_cast<uint64_t>(high - low + 1));
  }
  void append() {
    auto batch = make_batch(static_cast<int>(random_.next() % 4 + 1), kNow, random_.next() % 90);
    const auto info = log_->append_as_leader(batch, 1, kNow);
    REQUIRE(info);
    CHECK(info->base_offset == end_);
    batches_[end_] = std::string(batch.view());
    end_ = info->last_offset + 1;
  }
  void flush() {
    REQUIRE(log_->flush(kNow));
    durable_ = end_;
    recovery_point_ = log_->recovery_point();
  }
  void advance_start() {
    const int64_t offset = pick(start_, std::min(end_, start_ + 10));
    REQUIRE(log_->advance_start(offset, kNow));
    start_ = std::max(start_, offset);
    forget_below_start();
  }
  // Batches that end below the start may or may not be there still; nobody can read them.
  void forget_below_start() {
    while (!batches_.empty() &&
           protocol::BatchView::parse(span_of(batches_.begin()->second))->last_offset() < start_) {
      batches_.erase(batches_.begin());
    }
  }
  void truncate() {
    // Somewhere in a batch. (An end in a gap would not outlive a restart, here as in the
    // reference.)
    const auto in = batches_.lower_bound(pick(std::max(start_, end_ - 12), end_));
    if (in == batches_.end() || in == batches_.begin() ||
        protocol::BatchView::parse(span_of(std::prev(in)->second))->next_offset() != in->first) {
      return;
    }
    const auto batch = protocol::BatchView::parse(span_of(in->second));
    const int64_t offset = pick(batch->base_offset(), batch->last_offset());
    REQUIRE(log_->truncate_to(offset));
    end_ = in->first;  // a batch goes whole
    while (!batches_.empty() &&
           protocol::BatchView::parse(span_of(batches_.rbegin()->second))->last_offset() >=
               offset) {
      batches_.erase(std::prev(batches_.end()));
    }
    start_ = std::min(start_, end_);
    flush();
  }
  void stop() {
    REQUIRE(log_->close());
    durable_ = end_;
    reopen(true);
  }
  void cut_power() {
    log_.reset();
    disk_.cut_power();
    reopen(false);
    // More than what was flushed may be there, less may not.
    CHECK(log_->end_offset() >= durable_);
    REQUIRE(log_->end_offset() <= end_);
    end_ = log_->end_offset();
    start_ = log_->start_offset();
    take_over_what_is_left();
    REQUIRE(log_->flush(kNow));
    durable_ = end_;
    recovery_point_ = log_->recovery_point();
  }
  // Of what was not flushed any part may be gone, also a whole segment between others.
  void take_over_what_is_left() {
    std::map<int64_t, std::string> left;
    REQUIRE(log_->visit(start_, [&](const protocol::BatchView& batch) {
      left[batch.base_offset()] = {reinterpret_cast<const char*>(batch.bytes().data()),
                                   batch.size()};
      return true;
    }));
    for (const auto& [base, bytes] : left) {
      REQUIRE(batches_.contains(base));
      CHECK(batches_.at(base) == bytes);
    }
    for (const auto& [base, bytes] : batches_) {
      CHECK((base >= durable_ || left.contains(base)));
    }
    batches_ = std::move(left);
  }
  // A call fails in an append or a flush: what was acknowledged before stays.
  void fail_something() {
    disk_.fail_nth(static_cast<int>(random_.next() % 6 + 1));
    const bool flushes = random_.next() % 2 == 0;
    auto batch = make_batch(2, kNow, 60);
    const auto info = log_->append_as_leader(batch, 1, kNow);
    if (info) {
      batches_[end_] = std::string(batch.view());
      end_ = info->last_offset + 1;
    }
    if (flushes && log_->flush(kNow)) {
      durable_ = end_;
      recovery_point_ = log_->recovery_point();
    }
    disk_.fail_nth(0);
    CHECK(log_->end_offset() == end_);
  }
  void reopen(bool clean) {
    log_.reset();
    LogConfig config;
    config.segment_bytes = 700;
    config.index_interval_bytes = 100;
    auto opened = Log::open(disk_, "/d/t-0", config,
                            {.recovery_point = std::min(recovery_point_, durable_),
                             .log_start_offset = start_,
                             .clean = clean,
                             .now_ms = kNow});
    REQUIRE(opened);
    log_ = std::move(*opened);
    recovery_point_ = log_->recovery_point();
  }

  SimDisk disk_;
  SimRandom random_;
  std::unique_ptr<Log> log_;
  std::map<int64_t, std::string> batches_;  // by base offset
  int64_t start_ = 0;
  int64_t end_ = 0;
  int64_t durable_ = 0;  // what is below it survives a power cut
  int64_t recovery_point_ = 0;
};

}  // namespace

TEST_CASE("random histories agree with a model of the log") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    History history(seed);
    for (int i = 0; i < 80; ++i) {
      INFO("step " << i);
      history.step();
      history.check();
    }
  }
}
