#pragma once
// Subscriptions by a regular expression that the coordinator evaluates (KIP-848), in RE2's syntax.
#include <set>
#include <string>

#include "protocol/base/result.h"
#include "replication/metadata/image.h"

namespace klamm::broker {

// INVALID_REGULAR_EXPRESSION with the place that cannot be read.
Result<> check_topic_regex(const std::string& regex);
// The topics whose whole name matches; none when the expression is not valid.
std::set<std::string> matching_topics(const std::string& regex,
                                      const replication::MetadataImage& image);

}  // namespace klamm::broker
