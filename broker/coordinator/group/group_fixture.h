#pragma once
// For tests of groups: a shard over a sink that commits at once, topics that the test makes, and a
// clock that it moves.
#include <memory>
#include <string>

#include "broker/coordinator/fake_sink.h"
#include "broker/coordinator/group/group_shard.h"

namespace klamm::broker {

struct GroupFixture {
  FakeSink sink;
  GroupShardConfig config;
  int next_id = 0;
  int64_t now = 1'000'000;
  replication::ImagePtr image = std::make_shared<replication::MetadataImage>();
  std::unique_ptr<GroupShard> shard;

  GroupSurroundings surroundings;

  GroupFixture() {
    config.classic.initial_rebalance_delay_ms = 0;
    surroundings.image = [this] { return image; };
    surroundings.unique_suffix = [this] { return std::to_string(++next_id); };
    restart();
  }
  GroupFixture(const GroupFixture&) = delete;
  // A shard that knows nothing, in these surroundings.
  void restart() {
    shard = make_shard(sink);
    sink.shard = shard.get();
    shard->loaded(now);
  }
  std::unique_ptr<GroupShard> make_shard(RecordSink& into) {
    return std::make_unique<GroupShard>(into, config, surroundings);
  }
  // A shard that has loaded what this one has written.
  std::unique_ptr<GroupShard> twin() {
    static FakeSink unused;
    auto other = make_shard(unused);
    sink.replay_into(*other, now);
    return other;
  }
  // A topic of that many partitions, new or grown.
  protocol::Uuid topic(const std::string& name, int32_t partitions) {
    const auto known = image->topic(name);
    auto topic = std::make_shared<replication::TopicImage>();
    topic->name = name;
    topic->id = known ? known->id : protocol::Uuid{7, ++topics_};
    for (int32_t i = 0; i < partitions; ++i) {
      topic->partitions[i] = {};
    }
    change_topics([&](replication::TopicsImage& topics) {
      topics.by_name[name] = topic;
      topics.by_id[topic->id] = topic;
    });
    return topic->id;
  }
  void remove_topic(const std::string& name) {
    const auto id = image->topic(name)->id;
    change_topics([&](replication::TopicsImage& topics) {
      topics.by_name.erase(name);
      topics.by_id.erase(id);
    });
  }
  void advance(int64_t ms) {
    const int64_t end = now + ms;
    while (shard->next_deadline() && *shard->next_deadline() <= end) {
      now = std::max(now, *shard->next_deadline());
      sink.now = now;
      shard->tick(now);
    }
    now = end;
    sink.now = now;
  }

 private:
  template <class Change>
  void change_topics(const Change& change) {
    auto topics = std::make_shared<replication::TopicsImage>(*image->topics);
    change(*topics);
    auto next = std::make_shared<replication::MetadataImage>(*image);
    next->topics = std::move(topics);
    ++next->offset;
    image = std::move(next);
  }
  uint64_t topics_ = 0;
};

}  // namespace klamm::broker
