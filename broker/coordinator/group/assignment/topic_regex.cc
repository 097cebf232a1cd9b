#include "broker/coordinator/group/assignment/topic_regex.h"

#include <re2/re2.h>

namespace klamm::broker {

Result<> check_topic_regex(const std::string& regex) {
  const re2::RE2 compiled(regex, re2::RE2::Quiet);
  if (!compiled.ok()) {
    return fail(ErrorCode::kInvalidRegularExpression,
                "The regular expression `" + regex + "` is not valid: " + compiled.error() + ".");
  }
  return {};
}

std::set<std::string> matching_topics(const std::string& regex,
                                      const replication::MetadataImage& image) {
  const re2::RE2 compiled(regex, re2::RE2::Quiet);
  std::set<std::string> topics;
  if (!compiled.ok()) {
    return topics;
  }
  for (const auto& [name, topic] : image.topics->by_name) {
    if (re2::RE2::FullMatch(name, compiled)) {
      topics.insert(name);
    }
  }
  return topics;
}

}  // namespace klamm::broker
