#include "broker/sim/sim_cluster.h"

#include <algorithm>
#include <deque>

#include "broker/cluster/request_frame.h"

namespace klamm::broker::sim {

namespace {

constexpr int64_t kClient = -1;
constexpr uint64_t kHangsMaxMs = 20'000;

}  // namespace

// The network as one node sees it.
class SimCluster::Network : public replication::Transport {
 public:
  Network(SimCluster& cluster, int64_t node) : cluster_(cluster), node_(node) {}
  void send(const Address& to, Call call) override { cluster_.deliver(node_, to, std::move(call)); }
  std::shared_ptr<void> watch(const Address& to, std::function<void()> gone) override;

 private:
  SimCluster& cluster_;
  int64_t node_;
};

namespace {

// The cluster's time, as a node's own wall clock shows it.
class HostClock : public storage::Clock {
 public:
  explicit HostClock(const storage::Clock& time) : time_(time) {}
  int64_t wall_ms() const override { return time_.wall_ms() + ahead_ms_; }
  int64_t monotonic_ms() const override { return time_.monotonic_ms(); }
  void jump(int64_t ahead_ms) { ahead_ms_ = ahead_ms; }

 private:
  const storage::Clock& time_;
  int64_t ahead_ms_ = 0;
};

// One worker, who takes his time. What he has not begun when the process dies is never done.
class SlowWorkers : public storage::Workers {
 public:
  using After = std::function<void(int64_t max_ms, std::function<void()>)>;
  explicit SlowWorkers(After after) : after_(std::move(after)) {}

  void run(std::move_only_function<void()> task) override {
    if (slowness_ms_ == 0 && tasks_.empty()) {
      return task();
    }
    tasks_.push_back(std::move(task));
    after_(slowness_ms_, [this] { do_next(); });
  }
  void help() override {
    while (!tasks_.empty()) {
      do_next();
    }
  }
  void slow_down(int64_t ms) { slowness_ms_ = ms; }
  void die() { tasks_.clear(); }

 private:
  void do_next() {
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

  After after_;
  int64_t slowness_ms_ = 0;
  std::deque<std::move_only_function<void()>> tasks_;
};

}  // namespace

struct SimCluster::Host : Mailboxes {
  Host(SimCluster& cluster, size_t index, uint64_t seed)
      : cluster(cluster),
        index(index),
        disk(seed),
        clock(cluster.clock_),
        network(cluster, static_cast<int64_t>(index)),
        workers(
            [this](int64_t max_ms, const std::function<void()>& work) { later(max_ms, work); }) {}

  // For the present life, when the node is awake.
  void later(int64_t max_ms, const std::function<void()>& work) {
    const auto wait_ms =
        static_cast<int64_t>(cluster.random_.next() % static_cast<uint64_t>(max_ms + 1));
    cluster.after(wait_ms, [this, work, born = life] {
      cluster.when_awake(static_cast<int64_t>(index), [this, work, born] {
        if (life == born) {
          work();
        }
      });
    });
  }

  void post(size_t, Task task) override {
    const auto shared = std::make_shared<Task>(std::move(task));
    cluster.after(0, [this, shared, born = life] {
      cluster.when_awake(static_cast<int64_t>(index), [this, shared, born] {
        if (node != nullptr && life == born) {
          (*shared)();
        }
      });
    });
  }

  SimCluster& cluster;
  size_t index;
  storage::SimDisk disk;
  HostClock clock;
  int64_t asleep_until_ms = 0;
  bool is_stopping = false;
  Network network;
  SlowWorkers workers;
  std::unique_ptr<Node> node;
  uint64_t life = 0;
  // Requests that are not answered yet; they end with the process.
  std::map<uint64_t, std::shared_ptr<ReplySink>> open;
  // Connections that clients keep for their share sessions, until the process ends.
  std::vector<std::shared_ptr<ReplySink>> kept;
  uint64_t next_open = 0;
  // Whoever has a connection here is told when the process dies.
  std::vector<std::function<void()>> connections;
};

std::shared_ptr<void> SimCluster::Network::watch(const Address& to, std::function<void()> gone) {
  const auto alive = std::make_shared<int>(0);
  Host& host = *cluster_.hosts_.at((to.port - 1000u) / 2);
  host.connections.push_back([this, &host, weak = std::weak_ptr<int>(alive), gone] {
    const auto index = static_cast<int64_t>(host.index);
    if (weak.expired() || host.node != nullptr || cluster_.cut_.contains({index, node_}) ||
        cluster_.cut_.contains({node_, index})) {
      return;  // who cannot be reached does not refuse
    }
    gone();
  });
  return alive;
}

SimCluster::SimCluster(SimOptions options) : options_(std::move(options)), random_(options_.seed) {
  client_ = std::make_unique<Network>(*this, kClient);
  for (size_t i = 0; i < options_.nodes; ++i) {
    hosts_.push_back(std::make_unique<Host>(*this, i, options_.seed * 1000 + i));
  }
  for (size_t i = 0; i < options_.nodes; ++i) {
    start(i);
  }
}

SimCluster::~SimCluster() = default;

bool SimCluster::is_up(size_t node) const { return hosts_[node]->node != nullptr; }
Node* SimCluster::node(size_t node) { return hosts_[node]->node.get(); }

void SimCluster::after(int64_t wait_ms, std::function<void()> work) {
  events_.emplace(std::pair(clock_.monotonic_ms() + wait_ms, serial_++), std::move(work));
}

void SimCluster::note(uint64_t what) {
  trace_ = (trace_ ^ what ^ static_cast<uint64_t>(clock_.monotonic_ms())) * 0x9E3779B97F4A7C15ull;
}

void SimCluster::start(size_t index) {
  Host& host = *hosts_[index];
  ConfigMap config = options_.config;
  std::string voters;
  for (size_t i = 0; i < hosts_.size() || i < options_.nodes; ++i) {
    voters += (i == 0 ? "" : ",") + std::to_string(i + 1) + "@n:" + std::to_string(2 * i + 1001);
  }
  const auto port = [&](size_t offset) { return std::to_string(2 * index + 1000 + offset); };
  config.insert({{"node.id", std::to_string(index + 1)},
                 {"log.dirs", "/d"},
                 {"klamm.shards", "1"},
                 {"listeners", "PLAINTEXT://n:" + port(0) + ",CONTROLLER://n:" + port(1)},
                 {"controller.quorum.voters", voters}});
  auto made = BrokerConfig::make(std::move(config));
  CHECK_INVARIANT(made.has_value());
  Environment environment{host.disk, host.clock, random_, host.workers, 1};
  environment.halt = [this](const std::string& why) { halts_.push_back(why); };
  environment.transport = [&host](size_t) -> replication::Transport& { return host.network; };
  auto opened = Node::open(std::move(environment), std::move(*made), "sim");
  CHECK_INVARIANT(opened.has_value());
  host.node = std::move(*opened);
  host.node->use(host);
  host.node->start_background();
}

void SimCluster::crash(size_t index, bool power) {
  Host& host = *hosts_[index];
  ++host.life;
  host.asleep_until_ms = 0;
  host.is_stopping = false;
  host.workers.die();
  host.node.reset();
  host.open.clear();
  host.kept.clear();
  if (power) {
    host.disk.cut_power();
  }
  for (auto& reset : std::exchange(host.connections, {})) {
    after(1, std::move(reset));
  }
}

void SimCluster::stop(size_t index) {
  Host& host = *hosts_[index];
  if (std::exchange(host.is_stopping, true)) {
    return;
  }
  host.node->begin_stop([this, index, &host, born = host.life] {
    after(0, [this, index, &host, born] {
      if (host.life != born) {
        return;  // it died meanwhile
      }
      host.workers.help();
      if (const auto closed = host.node->close(); !closed) {
        halts_.push_back("a clean stop failed: " + closed.error().why);
      }
      crash(index, false);
    });
  });
}

void SimCluster::pause(size_t index, int64_t ms) {
  hosts_[index]->asleep_until_ms = clock_.monotonic_ms() + ms;
}

void SimCluster::slow_down(size_t index, int64_t ms) { hosts_[index]->workers.slow_down(ms); }

void SimCluster::jump(size_t index, int64_t ahead_ms) { hosts_[index]->clock.jump(ahead_ms); }

void SimCluster::wipe(size_t index) {
  if (is_up(index)) {
    crash(index, false);
  }
  hosts_[index]->disk = storage::SimDisk(random_.next());
}

void SimCluster::when_awake(int64_t node, std::function<void()> work) {
  const int64_t until = node == kClient ? 0 : hosts_[static_cast<size_t>(node)]->asleep_until_ms;
  if (clock_.monotonic_ms() >= until) {
    return work();
  }
  after(until - clock_.monotonic_ms(),
        [this, node, work = std::move(work)] { when_awake(node, work); });
}

void SimCluster::heal() {
  cut_.clear();
  loss_percent_ = 0;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    slow_down(i, 0);
  }
}

// What is lost on the way is sent again by TCP; a loss here is a connection that hangs, and may
// move on when nobody waits for the answer any more.
bool SimCluster::passes(int64_t from, int64_t to) {
  if (from == kClient || to == kClient) {
    return true;
  }
  return !cut_.contains({from, to}) && random_.next() % 100 >= loss_percent_;
}

void SimCluster::deliver(int64_t from, const Address& to, Call given) {
  const auto call = std::make_shared<Call>(std::move(given));
  const uint64_t born = from == kClient ? 0 : hosts_[static_cast<size_t>(from)]->life;
  const auto finished = std::make_shared<bool>(false);
  const auto finish = [this, call, finished, from, born](Result<CallAnswer> answer) {
    if (std::exchange(*finished, true)) {
      return;
    }
    const auto shared = std::make_shared<Result<CallAnswer>>(std::move(answer));
    when_awake(from, [this, call, from, born, shared] {
      const bool is_there = from == kClient || (hosts_[static_cast<size_t>(from)]->life == born &&
                                                hosts_[static_cast<size_t>(from)]->node != nullptr);
      if (is_there) {
        note(*shared ? (*shared)->body.size() : 7);
        call->done(std::move(*shared));
      }
    });
  };
  after(call->timeout_ms, [finish] { finish(fail(ErrorCode::kRequestTimedOut, "too late")); });
  Host& host = *hosts_.at((to.port - 1000u) / 2);
  const auto target = static_cast<int64_t>(host.index);
  const bool hangs = !passes(from, target);
  if (hangs && random_.next() % 2 == 0) {
    return;
  }
  // As negotiation would have it: some messages have versions that are not released.
  const int16_t version =
      std::min(call->version_max, protocol::find_api(call->api_key)->version_max);
  const Bytes frame = request_frame(call->api_key, version, 1, call->encode).flatten();
  const auto arrive = [this, call, finish, &host, from, target, version,
                       at_controller = to.port % 2 == 1, body = frame.slice(4, frame.size() - 4)] {
    if (cut_.contains({from, target})) {
      return;
    }
    note(static_cast<uint64_t>(call->api_key) + body.size());
    const auto refused = [finish] { finish(fail(ErrorCode::kNetworkException, "refused")); };
    if (host.node == nullptr) {
      return refused();
    }
    // Those that ended long ago are let go.
    constexpr size_t kConnectionsMax = 8192;
    if (host.connections.size() > kConnectionsMax) {
      host.connections.erase(host.connections.begin(),
                             host.connections.begin() + kConnectionsMax / 2);
    }
    host.connections.push_back([this, refused, from, target] {
      if (from == kClient || !cut_.contains({target, from})) {
        refused();
      }
    });
    serve(host, at_controller, body, call->api_key, version,
          [this, finish, from, target](Result<CallAnswer> answer) {
            if (passes(target, from)) {
              const auto shared = std::make_shared<Result<CallAnswer>>(std::move(answer));
              after(delay(), [finish, shared] { finish(std::move(*shared)); });
            }
          });
  };
  const auto late = hangs ? static_cast<int64_t>(random_.next() % kHangsMaxMs) : 0;
  after(delay() + late, [this, target, arrive] { when_awake(target, arrive); });
}

namespace {

// The server's end of a connection, for one request. Its process may die before it answers.
class Incoming : public ReplySink, public ReplyRoute {
 public:
  using Reply = std::move_only_function<void(Result<CallAnswer>)>;
  // `ended`: it is answered, or never will be, and may go.
  Incoming(Mailboxes& mailboxes, int16_t api_key, int16_t version, Reply reply,
           std::function<void()> ended)
      : mailboxes_(mailboxes),
        api_key_(api_key),
        version_(version),
        reply_(std::move(reply)),
        ended_(std::move(ended)) {}

  void complete(uint64_t, protocol::Writer frame) override {
    std::string content;
    size_t at = 0;
    for (const protocol::Splice& splice : frame.splices()) {
      content.append(reinterpret_cast<const char*>(frame.head().data()) + at, splice.at - at);
      at = splice.at;
      std::string part(splice.piece.size, '\0');
      if (splice.piece.source == nullptr) {
        part = splice.piece.bytes.view();
      } else {
        const auto got = splice.piece.source->read_at(
            splice.piece.position, {reinterpret_cast<uint8_t*>(part.data()), part.size()});
        if (!got) {
          return abandon();
        }
      }
      content += part;
    }
    content.append(reinterpret_cast<const char*>(frame.head().data()) + at,
                   frame.head().size() - at);
    const Bytes whole = Bytes::copy_of(content);
    const Bytes bytes = whole.slice(4, whole.size() - 4);
    const size_t header = response_header_size(bytes, api_key_, version_);
    finish(CallAnswer{bytes.slice(header, bytes.size() - header), version_});
  }
  void complete_without_answer(uint64_t) override { ended_(); }
  void abandon() override { finish(fail(ErrorCode::kNetworkException, "closed")); }
  bool is_here() const override { return true; }
  void post(std::move_only_function<void()> task) override { mailboxes_.post(0, std::move(task)); }

 private:
  void finish(Result<CallAnswer> answer) {
    if (reply_) {
      const auto ended = ended_;  // this may be gone afterwards
      std::exchange(reply_, nullptr)(std::move(answer));
      ended();
    }
  }
  Mailboxes& mailboxes_;
  int16_t api_key_;
  int16_t version_;
  Reply reply_;
  std::function<void()> ended_;
};

}  // namespace

void SimCluster::serve(Host& host, bool at_controller, const Bytes& frame, int16_t api_key,
                       int16_t version, std::move_only_function<void(Result<CallAnswer>)> reply) {
  const uint64_t id = host.next_open++;
  const auto incoming = std::make_shared<Incoming>(host, api_key, version, std::move(reply),
                                                   [&host, id, life = host.life] {
                                                     if (host.life == life) {
                                                       host.open.erase(id);
                                                     }
                                                   });
  host.open[id] = incoming;
  if (static_cast<protocol::ApiKey>(api_key) == protocol::ApiKey::kShareFetch) {
    host.kept.push_back(incoming);
  }
  const FrameFate fate =
      dispatch(host.node->shard(0), frame,
               {at_controller ? "CONTROLLER" : "PLAINTEXT", "/sim", incoming, incoming.get(), 0});
  if (fate == FrameFate::kClose) {
    incoming->abandon();
  }
}

void SimCluster::step(int64_t until_ms) {
  int64_t next = until_ms;
  if (!events_.empty()) {
    next = std::min(next, events_.begin()->first.first);
  }
  for (const auto& host : hosts_) {
    if (host->node != nullptr) {
      const auto due = host->node->shard(0).timers().next_deadline();
      next = std::min(next, due ? std::max(*due, host->asleep_until_ms) : next);
    }
  }
  clock_.advance(std::max<int64_t>(0, next - clock_.monotonic_ms()));
  const int64_t now = clock_.monotonic_ms();
  while (!events_.empty() && events_.begin()->first.first <= now) {
    const auto work = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    work();
  }
  for (const auto& host : hosts_) {
    if (host->node != nullptr && now >= host->asleep_until_ms) {
      host->node->shard(0).timers().run_due(now);
    }
  }
}

void SimCluster::run(int64_t ms) {
  const int64_t until = clock_.monotonic_ms() + ms;
  while (clock_.monotonic_ms() < until) {
    step(until);
  }
}

}  // namespace klamm::broker::sim
