#include "broker/coordinator/group/streams/topology.h"

#include <algorithm>

namespace klamm::broker {

using namespace protocol;

namespace {

using Subtopology = Topology::Subtopology;
using Counts = std::map<std::string, int32_t>;
using Problem = ConfiguredTopology::Problem;

std::unexpected<Error> invalid(std::string why) {
  return fail(ErrorCode::kStreamsInvalidTopology, std::move(why));
}

template <class Names>
std::string summary(const Names& names) {
  constexpr size_t kShown = 3;
  std::string text;
  size_t count = 0;
  for (const auto& name : names) {
    if (count++ < kShown) {
      text += (text.empty() ? "" : ", ") + name;
    }
  }
  return count > kShown ? text + " and " + std::to_string(count - kShown) + " additional topics"
                        : text;
}

std::string summary(const Counts& counts) {
  std::string text;
  for (const auto& [name, partitions] : counts) {
    text += (text.empty() ? "{" : ", ") + name + "=" + std::to_string(partitions);
  }
  return "[" + text + "}]";
}

int32_t largest(const Counts& counts) {
  return std::ranges::max_element(counts, {}, &Counts::value_type::second)->second;
}
int32_t smallest(const Counts& counts) {
  return std::ranges::min_element(counts, {}, &Counts::value_type::second)->second;
}

Problem wrong_partitions(std::string detail) {
  return {StreamsStatus::kIncorrectlyPartitionedTopics, std::move(detail)};
}

// Decides how many partitions each internal topic shall have. A topic that exists has as many as
// it has.
class Configuration {
 public:
  Configuration(const Topology& topology, const replication::MetadataImage& image)
      : topology_(topology), image_(image) {}

  Result<ConfiguredTopology> run() {
    ConfiguredTopology out;
    out.problem = missing_sources();
    if (out.problem) {
      return out;
    }
    TRY_VOID(decide_repartition_topics());
    for (const auto& subtopology : topology_.subtopologies) {
      for (const auto& group : subtopology.copartition_groups) {
        TRY(const auto topics, members_of(group, subtopology));
        out.problem = copartition(topics);
        if (out.problem) {
          return out;
        }
      }
    }
    TRY_VOID(decide_changelogs());
    for (const auto& subtopology : topology_.subtopologies) {
      TRY(const int32_t tasks, tasks_of_sources(subtopology));
      ConfiguredSubtopology configured{.tasks = tasks,
                                       .is_stateful = !subtopology.state_changelog_topics.empty()};
      configured.sources.insert(subtopology.source_topics.begin(), subtopology.source_topics.end());
      for (const auto& topic : subtopology.repartition_source_topics) {
        configured.sources.insert(topic.name);
      }
      if (!out.subtopologies.emplace(subtopology.subtopology_id, configured).second) {
        return invalid("Subtopology " + subtopology.subtopology_id + " is there twice.");
      }
    }
    out.problem = missing_topics(out.missing);
    if (out.problem && out.missing.empty()) {
      out.subtopologies.clear();
      return out;
    }
    out.internal_partitions = decided_;
    return out;
  }

 private:
  std::optional<int32_t> count_of(const std::string& name) const {
    if (const auto topic = image_.topic(name)) {
      return static_cast<int32_t>(topic->partitions.size());
    }
    const auto found = decided_.find(name);
    return found == decided_.end() ? std::nullopt : std::optional(found->second);
  }

  std::optional<Problem> missing_sources() const {
    std::set<std::string> missing;
    for (const auto& subtopology : topology_.subtopologies) {
      for (const auto& name : subtopology.source_topics) {
        if (image_.topic(name) == nullptr) {
          missing.insert(name);
        }
      }
    }
    if (missing.empty()) {
      return std::nullopt;
    }
    return Problem{StreamsStatus::kMissingSourceTopics,
                   "Source topics " + summary(missing) + " are missing."};
  }

  // As many as the largest source of the subtopology that writes to it; nullopt when none of its
  // sources is decided yet.
  std::optional<int32_t> largest_source(const Subtopology& subtopology) const {
    std::optional<int32_t> largest;
    const auto note = [&](std::optional<int32_t> count) {
      largest = count ? std::max(largest.value_or(*count), *count) : largest;
    };
    for (const auto& topic : subtopology.repartition_source_topics) {
      const auto found = decided_.find(topic.name);
      note(found == decided_.end() ? std::nullopt : std::optional(found->second));
    }
    for (const auto& name : subtopology.source_topics) {
      note(count_of(name));
    }
    return largest;
  }

  Result<> decide_repartition_topics() {
    for (const auto& subtopology : topology_.subtopologies) {
      for (const auto& topic : subtopology.repartition_source_topics) {
        if (topic.partitions != 0) {
          decided_[topic.name] = topic.partitions;
          fixed_.insert(topic.name);
        } else {
          flexible_.insert(topic.name);
        }
      }
    }
    for (bool is_open = true; is_open;) {
      is_open = false;
      bool has_advanced = false;
      for (const auto& subtopology : topology_.subtopologies) {
        for (const auto& sink : subtopology.repartition_sink_topics) {
          if (decided_.contains(sink)) {
            continue;
          }
          if (const auto count = largest_source(subtopology)) {
            decided_[sink] = *count;
            has_advanced = true;
          } else {
            is_open = true;
          }
        }
      }
      if (is_open && !has_advanced) {
        return invalid(
            "Failed to compute number of partitions for all repartition topics. There may be loops "
            "in the topology that cannot be resolved.");
      }
    }
    if (!std::ranges::all_of(flexible_,
                             [&](const auto& name) { return decided_.contains(name); })) {
      return invalid(
          "Failed to compute number of partitions for all repartition topics, because a "
          "repartition source topic is never used as a sink topic.");
    }
    return {};
  }

  Result<std::set<std::string>> members_of(const Topology::CopartitionGroup& group,
                                           const Subtopology& subtopology) const {
    const auto is_in = [](int16_t index, const auto& list) {
      return index >= 0 && static_cast<size_t>(index) < list.size();
    };
    std::set<std::string> topics;
    for (const int16_t index : group.source_topics) {
      if (!is_in(index, subtopology.source_topics)) {
        return invalid("A copartition group names a source topic that is not there.");
      }
      topics.insert(subtopology.source_topics[static_cast<size_t>(index)]);
    }
    for (const int16_t index : group.repartition_source_topics) {
      if (!is_in(index, subtopology.repartition_source_topics)) {
        return invalid("A copartition group names a repartition topic that is not there.");
      }
      topics.insert(subtopology.repartition_source_topics[static_cast<size_t>(index)].name);
    }
    return topics;
  }

  // What is joined must have as many partitions on both sides: repartition topics follow.
  std::optional<Problem> copartition(const std::set<std::string>& topics) {
    Counts internal;
    Counts external;
    Counts fixed;
    for (const auto& name : topics) {
      const int32_t count = count_of(name).value_or(0);
      const bool is_fixed = fixed_.contains(name);
      (is_fixed || flexible_.contains(name) ? internal : external)[name] = count;
      if (is_fixed) {
        fixed[name] = count;
      }
    }
    if (topics.empty()) {
      return std::nullopt;
    }
    const Counts& leading = !external.empty() ? external : fixed;
    if (!leading.empty() && largest(leading) != smallest(leading)) {
      return wrong_partitions("Following topics do not have the same number of partitions: " +
                              summary(external.empty() ? internal : external));
    }
    const int32_t count = largest(leading.empty() ? internal : leading);
    for (const auto& [name, partitions] : internal) {
      decided_[name] = count;
      if (fixed.contains(name) && partitions != count) {
        return wrong_partitions("Number of partitions [" + std::to_string(partitions) +
                                "] of repartition topic [" + name +
                                "] doesn't match number of partitions [" + std::to_string(count) +
                                "] of the source topic.");
      }
    }
    return std::nullopt;
  }

  Result<int32_t> tasks_of_sources(const Subtopology& subtopology) const {
    int32_t largest = 0;
    for (const auto& name : subtopology.source_topics) {
      largest = std::max(largest, count_of(name).value_or(0));
    }
    for (const auto& topic : subtopology.repartition_source_topics) {
      largest = std::max(largest, count_of(topic.name).value_or(0));
    }
    if (largest == 0) {
      return invalid("No source topics found for subtopology " + subtopology.subtopology_id);
    }
    return largest;
  }

  Result<> decide_changelogs() {
    for (const auto& subtopology : topology_.subtopologies) {
      TRY(const int32_t tasks, tasks_of_sources(subtopology));
      for (const auto& topic : subtopology.state_changelog_topics) {
        decided_[topic.name] = tasks;
      }
    }
    return {};
  }

  std::optional<Problem> missing_topics(std::vector<InternalTopic>& missing) const {
    std::map<std::string, InternalTopic> wanted;
    for (const auto& subtopology : topology_.subtopologies) {
      for (const auto* list :
           {&subtopology.repartition_source_topics, &subtopology.state_changelog_topics}) {
        for (const auto& info : *list) {
          InternalTopic topic{info.name, decided_.at(info.name), info.replication_factor, {}};
          for (const auto& config : info.topic_configs) {
            topic.configs[config.key] = config.value;
          }
          wanted[info.name] = std::move(topic);
        }
      }
    }
    std::set<std::string> names;
    for (const auto& [name, topic] : wanted) {
      const auto known = image_.topic(name);
      if (known == nullptr) {
        names.insert(name);
        missing.push_back(topic);
      } else if (std::cmp_not_equal(known->partitions.size(), topic.partitions)) {
        missing.clear();
        return wrong_partitions("Existing topic " + name +
                                " has different number of partitions: expected " +
                                std::to_string(topic.partitions) + ", found " +
                                std::to_string(known->partitions.size()));
      }
    }
    if (names.empty()) {
      return std::nullopt;
    }
    return Problem{StreamsStatus::kMissingInternalTopics,
                   "Internal topics are missing: " + summary(names)};
  }

  const Topology& topology_;
  const replication::MetadataImage& image_;
  Counts decided_;
  std::set<std::string> fixed_;     // repartition topics whose count the client has said
  std::set<std::string> flexible_;  // the others
};

template <class From>
std::vector<Topology::TopicInfo> infos_of(const std::vector<From>& from) {
  std::vector<Topology::TopicInfo> infos;
  for (const auto& topic : from) {
    auto& out = infos.emplace_back();
    out.name = topic.name;
    out.partitions = topic.partitions;
    out.replication_factor = topic.replication_factor;
    for (const auto& config : topic.topic_configs) {
      out.topic_configs.push_back({.key = config.key, .value = config.value});
    }
  }
  return infos;
}

}  // namespace

Topology topology_of(const StreamsGroupHeartbeatRequest::Topology& from) {
  Topology topology;
  topology.epoch = from.epoch;
  for (const auto& subtopology : from.subtopologies) {
    auto& out = topology.subtopologies.emplace_back();
    out.subtopology_id = subtopology.subtopology_id;
    out.source_topics = subtopology.source_topics;
    out.source_topic_regex = subtopology.source_topic_regex;
    out.state_changelog_topics = infos_of(subtopology.state_changelog_topics);
    out.repartition_sink_topics = subtopology.repartition_sink_topics;
    out.repartition_source_topics = infos_of(subtopology.repartition_source_topics);
    for (const auto& group : subtopology.copartition_groups) {
      out.copartition_groups.push_back(
          {.source_topics = group.source_topics,
           .source_topic_regex = group.source_topic_regex,
           .repartition_source_topics = group.repartition_source_topics});
    }
  }
  return topology;
}

bool is_same(const Topology& a, const Topology& b) {
  return a.epoch == b.epoch && std::ranges::is_permutation(a.subtopologies, b.subtopologies);
}

std::set<std::string> required_topics(const Topology& topology) {
  std::set<std::string> topics;
  for (const auto& subtopology : topology.subtopologies) {
    topics.insert(subtopology.source_topics.begin(), subtopology.source_topics.end());
    for (const auto* list :
         {&subtopology.repartition_source_topics, &subtopology.state_changelog_topics}) {
      for (const auto& topic : *list) {
        topics.insert(topic.name);
      }
    }
  }
  return topics;
}

const Subtopology* reader_of(const Topology& topology, const std::string& topic) {
  for (const auto& subtopology : topology.subtopologies) {
    const auto& repartition = subtopology.repartition_source_topics;
    if (std::ranges::find(subtopology.source_topics, topic) != subtopology.source_topics.end() ||
        std::ranges::find(repartition, topic, &Topology::TopicInfo::name) != repartition.end()) {
      return &subtopology;
    }
  }
  return nullptr;
}

Result<ConfiguredTopology> configure(const Topology& topology,
                                     const replication::MetadataImage& image) {
  return Configuration(topology, image).run();
}

}  // namespace klamm::broker
