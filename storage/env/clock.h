#pragma once
// The ports for time and chance.
#include <cstdint>

namespace klamm::storage {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since 1970; may jump.
  virtual int64_t wall_ms() const = 0;
  // Milliseconds since some start; never goes back.
  virtual int64_t monotonic_ms() const = 0;
};

// Tells the wall time of when it was made, and what has passed since. Whoever waits for a while
// waits by it, and keeps times that can be compared with those of an earlier process.
class SteadyClock : public Clock {
 public:
  explicit SteadyClock(const Clock& clock)
      : clock_(clock), ahead_ms_(clock.wall_ms() - clock.monotonic_ms()) {}
  int64_t wall_ms() const override { return clock_.monotonic_ms() + ahead_ms_; }
  int64_t monotonic_ms() const override { return clock_.monotonic_ms(); }

 private:
  const Clock& clock_;
  const int64_t ahead_ms_;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t next() = 0;
};

// Time that moves when it is told to, and numbers from a seed.
class SimClock : public Clock {
 public:
  int64_t wall_ms() const override { return now_; }
  int64_t monotonic_ms() const override { return now_; }
  void advance(int64_t ms) { now_ += ms; }

 private:
  int64_t now_ = 1'800'000'000'000;
};

class SimRandom : public Random {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t next() override {  // SplitMix64
    state_ += 0x9E3779B97F4A7C15ull;
    uint64_t mixed = (state_ ^ state_ >> 30) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBull;
    return mixed ^ mixed >> 31;
  }

 private:
  uint64_t state_;
};

}  // namespace klamm::storage
