#include "broker/handlers/parked.h"

#include <catch2/catch.hpp>

#include "broker/test_cluster.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::broker::test;

namespace {

// What a fetch may wait for: as many places as it likes.
struct Source {
  std::vector<std::weak_ptr<replication::Watcher>> watchers;
  int bytes = 0;

  void add(int more) {
    bytes += more;
    for (const auto& watcher : std::exchange(watchers, {})) {
      if (const auto alive = watcher.lock()) {
        alive->notify();
      }
    }
  }
};

class CountingPart : public ParkedPart {
 public:
  CountingPart(size_t owner, Tell tell, const std::vector<Source*>& sources)
      : ParkedPart(owner, std::move(tell)), sources_(sources) {}
  int readings = 0;
  int bytes = 0;

 private:
  void read(Broker&, bool now_or_never) override {
    ++readings;
    bytes = 0;
    for (Source* const source : sources_) {
      bytes += source->bytes;
      if (!now_or_never) {
        source->watchers.push_back(watcher());
      }
    }
  }
  std::vector<Source*> sources_;
};

class CountingFetch : public Parked<CountingPart> {
 public:
  explicit CountingFetch(Broker& broker) : Parked(broker) {}
  void begin(const std::vector<Source*>& sources) {
    part_of(0, sources);
    Parked::begin(500);
  }
  int readings() const { return parts().front()->readings; }
  bool wanted = true;
  int answers = 0;
  std::function<void(const CountingFetch&)> on_reading = [](const CountingFetch&) {};

 private:
  bool is_wanted() const override {
    on_reading(*this);
    return wanted;
  }
  bool has_enough() const override { return parts().front()->bytes >= 10; }
  void answer() override { ++answers; }
};

struct Scene {
  Cluster cluster{1, 1};
  Source left, right;
  std::shared_ptr<CountingFetch> fetch = std::make_shared<CountingFetch>(cluster.node->shard(0));

  Scene() { fetch->begin({&left, &right}); }
};

}  // namespace

TEST_CASE("a parked fetch looks at news of many places together") {
  Scene scene;
  for (int i = 0; i < 4; ++i) {
    scene.left.add(1);
    scene.right.add(1);
  }
  CHECK(scene.fetch->readings() == 1);
  scene.cluster.turns->run();
  CHECK(scene.fetch->readings() == 2);
  CHECK(scene.fetch->answers == 0);
  scene.right.add(2);
  scene.cluster.turns->run();
  CHECK(scene.fetch->answers == 1);
  scene.left.add(1);
  scene.cluster.turns->run();
  scene.cluster.pass(500);
  CHECK(scene.fetch->answers == 1);
  CHECK(scene.fetch->readings() == 3);
}

TEST_CASE("who has waited longest for a share of the news has it first") {
  Scene scene;
  const auto later = std::make_shared<CountingFetch>(scene.cluster.node->shard(0));
  later->begin({&scene.left});
  std::vector<const CountingFetch*> order;
  scene.fetch->on_reading =
      later->on_reading = [&](const CountingFetch& fetch) { order.push_back(&fetch); };
  for (int i = 0; i < 3; ++i) {
    scene.left.add(1);
    scene.cluster.turns->run();
  }
  const auto* const first = scene.fetch.get();
  CHECK(order == std::vector<const CountingFetch*>{first, later.get(), first, later.get(), first,
                                                   later.get()});
}

TEST_CASE("a parked fetch answers when its time is over, unless nobody waits any more") {
  Scene scene;
  scene.fetch->wanted = GENERATE(true, false);
  scene.left.add(1);
  scene.cluster.pass(500);
  CHECK(scene.fetch->answers == (scene.fetch->wanted ? 1 : 0));
}
