#pragma once
// A fetch from its arrival to its answer: it has its parts read, each on the shard that owns it,
// and read again when one of them has news, until that is enough or its time is over.
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "replication/partition/partition.h"

namespace klamm::broker {

// What one shard reads for a parked fetch. Travels between the fetch's own shard and the owner;
// only one of them holds it at a time, but for the call that brings news.
class ParkedPart : public std::enable_shared_from_this<ParkedPart> {
 public:
  using Tell = std::function<void(Broker& owner)>;

  ParkedPart(size_t owner, Tell tell) : owner_(owner), tell_(std::move(tell)) {}
  virtual ~ParkedPart() = default;

  size_t owner() const { return owner_; }
  // On the owner's shard. May leave `watcher()` with what it waits for unless it is `now_or_never`.
  void read_at(Broker& owner, bool now_or_never) {
    broker_ = &owner;
    news_.reset();
    read(owner, now_or_never);
  }

 protected:
  // Told once of the first news since it was read, wherever and however often it was left; those
  // of earlier readings count no longer.
  std::weak_ptr<replication::Watcher> watcher() {
    if (news_ == nullptr) {
      news_ = std::make_shared<News>(weak_from_this());
    }
    return news_;
  }

 private:
  class News : public replication::Watcher {
   public:
    explicit News(std::weak_ptr<ParkedPart> part) : part_(std::move(part)) {}
    void notify() override {
      if (const auto part = std::exchange(part_, {}).lock()) {
        part->tell_(*part->broker_);
      }
    }

   private:
    std::weak_ptr<ParkedPart> part_;
  };

  virtual void read(Broker& owner, bool now_or_never) = 0;

  size_t owner_;
  Tell tell_;
  Broker* broker_ = nullptr;
  std::shared_ptr<News> news_;
};

template <class Part>
class Parked : public std::enable_shared_from_this<Parked<Part>> {
 public:
  virtual ~Parked() = default;

 protected:
  explicit Parked(Broker& broker) : broker_(broker) {}

  Broker& broker() { return broker_; }
  const std::vector<std::shared_ptr<Part>>& parts() const { return parts_; }
  // That of the shard; a new one is made of `more`. Not before this is shared.
  template <class... More>
  Part& part_of(size_t owner, const More&... more) {
    for (const auto& part : parts_) {
      if (part->owner() == owner) {
        return *part;
      }
    }
    parts_.push_back(std::make_shared<Part>(owner, tell(), more...));
    return *parts_.back();
  }
  void begin(int32_t max_wait_ms) {
    last_try_ = max_wait_ms <= 0;
    ask();
    if (!answered_ && !last_try_) {
      timer_ =
          broker_.timers().after(broker_.clock(), max_wait_ms, [self = this->shared_from_this()] {
            self->timer_.reset();
            self->last_try_ = true;
            self->ask();
          });
    }
  }

 private:
  // Whether anybody waits for the answer. Who does not is given nothing: it could not give it back.
  virtual bool is_wanted() const = 0;
  virtual bool has_enough() const = 0;
  virtual void answer() = 0;

  // Called on the owner's shard; the fetch itself lives on this one.
  ParkedPart::Tell tell() {
    return [weak = this->weak_from_this(), home = broker_.shard()](Broker& owner) {
      owner.at(home, [weak](Broker&) {
        if (const auto self = weak.lock()) {
          self->hear();
        }
      });
    };
  }
  // News may be of many partitions at a time: they are looked at together, after what brings them.
  // Whoever has waited longest hears of them first.
  void hear() {
    if (!std::exchange(asks_soon_, true)) {
      broker_.soon([weak = this->weak_from_this()](Broker&) {
        if (const auto self = weak.lock()) {
          self->asks_soon_ = false;
          self->ask();
        }
      });
    }
  }
  // Has every part read. News that arrive while they do so are looked at afterwards.
  void ask() {
    if (answered_) {
      return;
    }
    if (open_ > 0) {
      again_ = true;
      return;
    }
    if (!is_wanted()) {
      return finish();
    }
    again_ = false;
    open_ = parts_.size() + 1;
    for (const auto& part : parts_) {
      broker_.at(part->owner(), [part, self = this->shared_from_this(), home = broker_.shard(),
                                 last_try = last_try_](Broker& owner) mutable {
        part->read_at(owner, last_try);
        owner.at(home, [self = std::move(self)](Broker&) { self->finish_one(); });
      });
    }
    finish_one();
  }
  void finish_one() {
    if (--open_ > 0) {
      return;
    }
    if (last_try_ || has_enough()) {
      finish();
      answer();
    } else if (again_) {
      ask();
    }
  }
  void finish() {
    answered_ = true;
    if (timer_) {
      broker_.timers().cancel(*timer_);
    }
  }

  Broker& broker_;
  std::vector<std::shared_ptr<Part>> parts_;
  size_t open_ = 0;     // parts that are reading, and the one who asks them
  bool again_ = false;  // there were news meanwhile
  bool asks_soon_ = false;
  bool last_try_ = false;
  bool answered_ = false;
  std::optional<Timers::Id> timer_;
};

}  // namespace klamm::broker
