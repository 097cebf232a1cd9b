#pragma once
// What the requests of the newer group protocols have in common: texts that must say something,
// refusals, and the configuration that a group has of its own.
#include <optional>
#include <string>

#include "protocol/base/result.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

// A text that is there and says nothing.
inline bool is_blank(const std::optional<std::string>& text) {
  return text && text->find_first_not_of(" \t\r\n") == std::string::npos;
}

template <class Response>
Response refusal(const Error& error) {
  return {.error_code = error.code, .error_message = error.why};
}

class OwnConfig {
 public:
  OwnConfig(const replication::MetadataImage& image, const std::string& group_id)
      : entries_(image.config(replication::ConfigResource::kGroup, group_id)) {}

  // Null when the group has no value of its own.
  const std::string* find(const char* key) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }
  // Leaves `into` as it is when the group has none. Values were checked when they were set.
  template <class Number>
  void take(const char* key, Number& into) const {
    if (const std::string* const value = find(key)) {
      into = std::stoi(*value);
    }
  }

 private:
  const replication::ConfigEntries& entries_;
};

}  // namespace klamm::broker
