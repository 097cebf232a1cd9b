#pragma once
// What the groups of all protocols have in common.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/coordinator/runtime.h"

namespace klamm::broker {

enum class GroupType { kClassic, kConsumer, kShare, kStreams };

constexpr std::string_view name_of(GroupType type) {
  switch (type) {
    case GroupType::kClassic: return "classic";
    case GroupType::kConsumer: return "consumer";
    case GroupType::kShare: return "share";
    case GroupType::kStreams: return "streams";
  }
  return "Unknown";
}

class Group {
 public:
  virtual ~Group() = default;
  virtual GroupType type() const = 0;
  virtual std::string_view state_name() const = 0;
  virtual std::string protocol_type() const = 0;
  virtual bool is_empty() const = 0;
  // Whether a member reads the topic; true when that cannot be told.
  virtual bool is_subscribed(const std::string& topic) const = 0;
  // All that is known of an empty group, forgotten.
  virtual void add_tombstones(std::vector<CoordinatorRecord>& records) const = 0;
  virtual std::optional<int64_t> next_deadline() const = 0;
  // Another broker coordinates the group from now on.
  virtual void unload() {}
};

// A value that copies share until one of them changes it.
template <class T>
class Shared {
 public:
  const T& operator*() const { return *value_; }
  const T* operator->() const { return value_.get(); }
  T& edit() {
    if (value_.use_count() > 1) {
      value_ = std::make_shared<T>(*value_);
    }
    return *value_;
  }

 private:
  std::shared_ptr<T> value_ = std::make_shared<T>();
};

// A group's state on its way to the next: each record takes effect as soon as it is decided on, so
// that what is decided after it sees it.
template <class State>
struct Draft {
  State state;
  std::vector<CoordinatorRecord> records;

  void emit(CoordinatorRecord record) {
    state.apply(record);
    records.push_back(std::move(record));
  }
};

}  // namespace klamm::broker
