#include "broker/replicas.h"

#include <catch2/catch.hpp>
#include <deque>

#include "storage/env/sim_disk.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::replication;
using storage::TopicPartition;

namespace {

// Does its work when it is told to, or waited for.
class HeldBackground : public storage::Background {
 public:
  std::shared_ptr<Ticket> run(Work work, Done done) override {
    tasks_.push_back(std::make_shared<Task>(std::move(work), std::move(done)));
    return tasks_.back();
  }
  void finish() {
    while (!tasks_.empty()) {
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task->wait();
      std::exchange(task->done, nullptr)(std::move(*task->outcome));
    }
  }

 private:
  struct Task : Ticket {
    Task(Work work, Done done) : work(std::move(work)), done(std::move(done)) {}
    void wait() override {
      if (!outcome) {
        outcome = std::exchange(work, nullptr)();
      }
    }
    Work work;
    Done done;
    std::optional<Result<>> outcome;
  };
  std::deque<std::shared_ptr<Task>> tasks_;
};

// One shard of a node with one directory, and what the metadata say.
struct Fixture {
  storage::SimDisk disk;
  storage::SimClock clock;
  storage::SimRandom random{3};
  HeldBackground background;
  BrokerConfig config = *BrokerConfig::make({{"node.id", "1"},
                                             {"log.dirs", "/d"},
                                             {"klamm.shards", "1"},
                                             {"log.flush.interval.messages", "1"}});
  std::vector<std::unique_ptr<storage::LogDir>> dirs;
  std::optional<Replicas> replicas;

  Fixture() {
    dirs.push_back(*storage::LogDir::open(disk, random, "/d", {"c", 1}));
    replicas.emplace(clock, random, background, config, dirs, SIZE_MAX, ShardPlace{});
  }
  // Partition 0 of topic "t" of this id, led from here; without an id there is no topic.
  void say(std::optional<Uuid> id) {
    auto topics = std::make_shared<TopicsImage>();
    if (id) {
      const PartitionImage partition{.replicas = {1}, .isr = {1}, .leader = 1};
      topics->by_name["t"] = topics->by_id[*id] =
          std::make_shared<TopicImage>(TopicImage{"t", *id, {{0, partition}}});
    }
    auto image = std::make_shared<MetadataImage>();
    image->topics = std::move(topics);
    replicas->follow(image);
  }
  Uuid create() {
    const Uuid id = storage::new_uuid(random);
    say(id);
    return id;
  }
  std::vector<std::string> folders() {
    std::vector<std::string> kinds;
    const auto names = disk.list("/d");
    for (const std::string& name : *names) {
      if (name.starts_with("t-")) {
        kinds.push_back(name.ends_with("-delete/")  ? "deleted"
                        : name.ends_with("-stray/") ? "stray"
                                                    : name);
      }
    }
    return kinds;
  }
  bool opens() { return replicas->find("t", 0).has_value(); }
};

using Folders = std::vector<std::string>;
const TopicPartition kPartition{"t", 0};

}  // namespace

TEST_CASE("a topic's folder goes when its flush has ended, and then makes room for the next") {
  Fixture f;
  f.create();
  const auto partition = f.replicas->find("t", 0);
  REQUIRE(partition);
  REQUIRE((*partition)->append(storage::make_batch(1, f.clock.wall_ms()), 1, f.clock.wall_ms()));
  REQUIRE((*partition)->is_flushing());
  f.say(std::nullopt);
  CHECK(f.folders() == Folders{"t-0/"});
  f.create();
  CHECK(f.replicas->find("t", 0).error().code == ErrorCode::kNotLeaderOrFollower);
  f.background.finish();
  CHECK(f.folders() == Folders{"deleted"});
  REQUIRE(f.opens());
  CHECK((*f.replicas->find("t", 0))->log().end_offset() == 0);
  CHECK(f.folders() == Folders{"deleted", "t-0/"});
}

TEST_CASE("a topic that is deleted while its log is opened leaves nothing to the next") {
  Fixture f;
  const Uuid first = f.create();
  int opened = 0;
  f.replicas->open_in_background(kPartition, [&](const Result<bool>&) { ++opened; });
  f.say(std::nullopt);
  const Uuid second = f.create();
  CHECK(f.replicas->find("t", 0).error().code == ErrorCode::kNotLeaderOrFollower);
  f.background.finish();
  CHECK(opened == 1);
  CHECK(f.folders() == Folders{"deleted"});
  CHECK(f.replicas->find_open(first, 0) == nullptr);
  REQUIRE(f.opens());
  CHECK(f.replicas->find_open(second, 0) != nullptr);
}

TEST_CASE("what is being opened, flushed or removed is no stray") {
  Fixture f;
  SECTION("a folder whose metadata file is not written yet") {
    f.create();
    f.replicas->open_in_background(kPartition, [](const Result<bool>&) {});
    REQUIRE(f.disk.make_dirs("/d/t-0"));
    REQUIRE(f.disk.write_file("/d/t-0/partition.metadata", std::string_view()));
    f.replicas->drop_strays();
    CHECK(f.folders() == Folders{"t-0/"});
    f.background.finish();
    CHECK(f.opens());
  }
  SECTION("the folder of a topic that is gone, until nothing works in it") {
    f.create();
    f.replicas->open_in_background(kPartition, [](const Result<bool>&) {});
    f.say(std::nullopt);
    REQUIRE(f.disk.make_dirs("/d/t-0"));
    f.replicas->drop_strays();
    CHECK(f.folders() == Folders{"t-0/"});
    f.background.finish();
    CHECK(f.folders() == Folders{"deleted"});
  }
  SECTION("but the folder of an older topic of the name is one") {
    const Uuid old = storage::new_uuid(f.random);
    REQUIRE(f.disk.make_dirs("/d/t-0"));
    REQUIRE(
        f.disk.write_file("/d/t-0/partition.metadata", storage::format_partition_metadata(old)));
    f.replicas->load(std::make_shared<MetadataImage>(), {{kPartition, f.dirs[0].get()}});
    f.create();
    f.replicas->drop_strays();
    CHECK(f.folders() == Folders{"stray"});
    CHECK(f.opens());
  }
}
