#include "broker/coordinator/group/assignment/assignor.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/group/assignment/metadata_hash.h"
#include "broker/coordinator/group/assignment/sorted.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

const Uuid kA{1, 1};
const Uuid kB{1, 2};

size_t load(const Assignment& assignment) {
  size_t count = 0;
  for (const auto& [topic, partitions] : assignment) {
    count += partitions.size();
  }
  return count;
}

AssignmentTask task(std::vector<Subscriber> subscribers, std::map<Uuid, int32_t> partitions) {
  return {std::move(subscribers), std::move(partitions)};
}

}  // namespace

TEST_CASE("range gives neighbours, the same of each topic, static members first") {
  const auto targets = assign_range(
      task({{"a", {}, {kA, kB}}, {"b", {}, {kA, kB}}, {"z", "1", {kA}}}, {{kA, 4}, {kB, 4}}));
  CHECK(targets.at("z") == Assignment{{kA, {0, 1}}});
  CHECK(targets.at("a") == Assignment{{kA, {2}}, {kB, {0, 1}}});
  CHECK(targets.at("b") == Assignment{{kA, {3}}, {kB, {2, 3}}});
}

TEST_CASE("uniform: loads differ by one, and nobody gives up more than it must") {
  const Assignment had{{kA, {0, 1, 2, 3, 4, 5, 6}}};
  const auto targets =
      assign_uniform(task({{"a", {}, {kA}}, {"b", {}, {kA}, &had}, {"c", {}, {kA}}}, {{kA, 7}}));
  CHECK(targets.at("b") == Assignment{{kA, {0, 1, 2}}});
  CHECK(load(targets.at("a")) == 2);
  CHECK(load(targets.at("c")) == 2);
  const auto again = assign_uniform(task({{"a", {}, {kA}, &targets.at("a")},
                                          {"b", {}, {kA}, &targets.at("b")},
                                          {"c", {}, {kA}, &targets.at("c")}},
                                         {{kA, 7}}));
  CHECK(again == targets);
}

TEST_CASE("uniform with different subscriptions: readers of a topic carry about the same") {
  const auto targets = assign_uniform(
      task({{"a", {}, {kA}}, {"ab", {}, {kA, kB}}, {"b", {}, {kB}}}, {{kA, 6}, {kB, 6}}));
  size_t total = 0;
  for (const auto& [member, target] : targets) {
    CHECK(load(target) == 4);
    total += load(target);
  }
  CHECK(total == 12);
  CHECK(targets.at("a").contains(kB) == false);
}

TEST_CASE("uniform forgets what is gone: topics, partitions, subscriptions") {
  const Assignment had{{kA, {0, 1, 9}}, {kB, {0}}};
  const auto targets = assign_uniform(task({{"a", {}, {kA}, &had}}, {{kA, 2}}));
  CHECK(targets.at("a") == Assignment{{kA, {0, 1}}});
}

TEST_CASE("a group without topics has nothing to give") {
  CHECK(assign_uniform(task({{"a", {}, {}}}, {})).at("a").empty());
  CHECK(assign_range(task({{"a", {}, {}}}, {})).at("a").empty());
  CHECK(assign_uniform({}).empty());
}

TEST_CASE("the hash of topics is Kafka's, and changes with what matters") {
  replication::MetadataImage image;
  const auto put = [&](const std::string& name, const Uuid& id, int32_t partitions) {
    auto topics = std::make_shared<replication::TopicsImage>(*image.topics);
    auto topic = std::make_shared<replication::TopicImage>();
    topic->name = name;
    topic->id = id;
    for (int32_t i = 0; i < partitions; ++i) {
      topic->partitions[i] = {.replicas = {1}};
    }
    topics->by_name[name] = topic;
    topics->by_id[id] = topic;
    image.topics = topics;
  };
  MetadataHash hashes;
  CHECK(hashes.of({"t"}, image) == 0);
  put("t", *Uuid::parse("pteQYYj7TOqgA1qKHesJhQ"), 6);
  CHECK(hashes.of({"t"}, image) == -1265004608795864980);  // in a record that Kafka 4.4.0 wrote
  put("t", kA, 1);
  const int64_t one = hashes.of({"t"}, image);
  CHECK(one != 0);
  CHECK(hashes.of({"t", "missing"}, image) == one);
  put("t", kA, 2);
  const int64_t two = hashes.of({"t"}, image);
  CHECK(two != one);
  image.brokers[1].rack = "r";
  MetadataHash anew;
  CHECK(anew.of({"t"}, image) != two);
}

TEST_CASE("sorted sets and maps are what std's are") {
  uint64_t random = 1;
  SortedSet<int32_t> set;
  std::set<int32_t> set_of_std;
  SortedMap<int32_t, int32_t> map;
  std::map<int32_t, int32_t> map_of_std;
  for (int i = 0; i < 500; ++i) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    const auto key = static_cast<int32_t>((random >> 33) % 60);
    if ((random >> 20) % 3 == 0) {
      CHECK(set.erase(key) == set_of_std.erase(key));
    } else {
      set.insert(key);
      set_of_std.insert(key);
    }
    map[key] = i;
    map_of_std[key] = i;
    CHECK(set.contains(key) == set_of_std.contains(key));
    CHECK(map.at(key) == i);
  }
  CHECK(std::ranges::equal(set, set_of_std));
  CHECK(std::ranges::equal(map, map_of_std, [](const auto& a, const auto& b) {
    return a.first == b.first && a.second == b.second;
  }));
  const std::vector<int32_t> some = {3, 1, 3, 2};
  CHECK(SortedSet<int32_t>(some.begin(), some.end()) == SortedSet<int32_t>{1, 2, 3});
  const std::map<int32_t, int32_t> more = {{7, 70}, {100, 1}};
  SortedMap<int32_t, int32_t> merged = {{7, 7}, {2, 2}};
  merged.insert(more.begin(), more.end());
  CHECK(merged == SortedMap<int32_t, int32_t>{{2, 2}, {7, 7}, {100, 1}});
}
