#include "broker/coordinator/group/classic/consumer_protocol.h"

#include <algorithm>
#include <map>
#include <set>

#include "protocol/base/reader.h"
#include "protocol/base/writer.h"
#include "protocol/generated/consumer_protocol_assignment.h"

namespace klamm::broker {

using namespace protocol;

namespace {

// Later versions only add to the end.
template <class M>
std::optional<M> read_newest_known(Reader& in, int16_t version) {
  if (version < 0) {
    return std::nullopt;
  }
  M message;
  message.decode(in, std::min(version, M::kVersionMax));
  return in.ok() ? std::optional(std::move(message)) : std::nullopt;
}

}  // namespace

std::optional<Subscription> read_subscription(const Bytes& metadata) {
  Reader in(metadata);
  const auto version = in.fixed<int16_t>();
  auto content = read_newest_known<ConsumerProtocolSubscription>(in, version);
  return content ? std::optional(Subscription{version, std::move(*content)}) : std::nullopt;
}

std::optional<Assignment> read_assignment(const Bytes& assignment,
                                          const replication::MetadataImage& image) {
  Assignment partitions;
  if (assignment.empty()) {
    return partitions;
  }
  Reader in(assignment);
  const auto version = in.fixed<int16_t>();
  const auto content = read_newest_known<ConsumerProtocolAssignment>(in, version);
  if (!content || (content->user_data && !content->user_data->empty())) {
    return std::nullopt;
  }
  for (const auto& assigned : content->assigned_partitions) {
    if (const auto topic = image.topic(assigned.topic); topic && !assigned.partitions.empty()) {
      partitions[topic->id].insert(assigned.partitions.begin(), assigned.partitions.end());
    }
  }
  return partitions;
}

Bytes write_assignment(const Assignment& assignment, int16_t version,
                       const replication::MetadataImage& image) {
  ConsumerProtocolAssignment content;
  content.user_data.reset();
  for (const auto& [id, partitions] : assignment) {
    if (const auto topic = image.topic(id)) {
      content.assigned_partitions.push_back(
          {.topic = topic->name, .partitions = {partitions.begin(), partitions.end()}});
    }
  }
  version = std::min(version, ConsumerProtocolAssignment::kVersionMax);
  Writer out;
  out.fixed(version);
  content.encode(out, version);
  return out.flatten();
}

namespace {

std::set<std::string> common_protocols(
    const std::vector<std::vector<std::string>>& protocols_of_members) {
  std::map<std::string, size_t> counts;
  for (const auto& protocols : protocols_of_members) {
    for (const auto& name : std::set(protocols.begin(), protocols.end())) {
      ++counts[name];
    }
  }
  std::set<std::string> common;
  for (const auto& [name, count] : counts) {
    if (count == protocols_of_members.size()) {
      common.insert(name);
    }
  }
  return common;
}

}  // namespace

std::string choose_protocol(const std::vector<std::vector<std::string>>& protocols_of_members) {
  const auto common = common_protocols(protocols_of_members);
  std::map<std::string, int> votes;
  for (const auto& protocols : protocols_of_members) {
    const auto vote =
        std::ranges::find_if(protocols, [&](const auto& name) { return common.contains(name); });
    if (vote != protocols.end()) {
      ++votes[*vote];
    }
  }
  const auto winner =
      std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return winner == votes.end() ? "" : winner->first;
}

}  // namespace klamm::broker
