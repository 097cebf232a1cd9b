#pragma once
// A whole cluster in one thread from one seed: real nodes, with simulated disks, clock and network.
// Messages are late, get lost and find links cut one-way; nodes stop, die with or without their
// power, stand still for a while, have slow disks or lose them, and have clocks that jump. The same
// seed gives the same trace.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/handlers/dispatch.h"
#include "broker/node.h"
#include "replication/transport.h"
#include "storage/env/sim_disk.h"

namespace klamm::broker::sim {

using protocol::Bytes;
using replication::Address;
using replication::Call;
using replication::CallAnswer;

struct SimOptions {
  size_t nodes = 3;
  uint64_t seed = 1;
  ConfigMap config;
};

class SimCluster {
 public:
  explicit SimCluster(SimOptions options);
  ~SimCluster();

  struct Host;
  size_t size() const { return hosts_.size(); }
  bool is_up(size_t node) const;
  // Null while the node is down.
  Node* node(size_t node);
  void start(size_t node);
  // The process dies; with `power` its disk loses what was not synced.
  void crash(size_t node, bool power);
  // A clean stop, as after a SIGTERM: the node is down some time later.
  void stop(size_t node);
  // The process stands still, as after a SIGSTOP, and goes on with what has come meanwhile.
  void pause(size_t node, int64_t ms);
  // Its disk takes up to so long for what is done on another thread (syncs, opening logs); 0: none.
  void slow_down(size_t node, int64_t ms);
  // Its wall clock jumps: it is ahead of the true time by so much from then on.
  void jump(size_t node, int64_t ahead_ms);
  // The process dies and its disk is replaced by an empty one.
  void wipe(size_t node);
  // Nothing gets from one node to the other any more.
  void cut(size_t from, size_t to) { cut_.insert({from, to}); }
  void set_loss(uint64_t percent) { loss_percent_ = percent; }
  void heal();

  // A client's request to a broker; the client is everywhere and never cut off.
  template <class Response, class Request>
  void ask(size_t node, Request request, int64_t timeout_ms,
           std::move_only_function<void(Result<Response>)> done) {
    replication::call<Response>(*client_, broker_address(node), std::move(request), timeout_ms,
                                std::move(done));
  }
  // Goes on to the next thing that happens, at most to `until_ms`.
  void step(int64_t until_ms);
  void run(int64_t ms);
  void after(int64_t wait_ms, std::function<void()> work);
  int64_t now_ms() const { return clock_.monotonic_ms(); }
  storage::SimRandom& random() { return random_; }
  // Of everything that was delivered.
  uint64_t trace() const { return trace_; }
  const std::vector<std::string>& halts() const { return halts_; }

 private:
  class Network;
  friend class Network;
  static Address broker_address(size_t node) {
    return {"n", static_cast<uint16_t>(2 * node + 1000)};
  }
  void deliver(int64_t from, const Address& to, Call call);
  void serve(Host& host, bool at_controller, const Bytes& frame, int16_t api_key, int16_t version,
             std::move_only_function<void(Result<CallAnswer>)> reply);
  bool passes(int64_t from, int64_t to);
  int64_t delay() { return 1 + static_cast<int64_t>(random_.next() % 4); }
  void note(uint64_t what);
  // Does `work` once the node stands still no longer.
  void when_awake(int64_t node, std::function<void()> work);

  SimOptions options_;
  storage::SimClock clock_;
  storage::SimRandom random_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::unique_ptr<replication::Transport> client_;
  std::multimap<std::pair<int64_t, uint64_t>, std::function<void()>> events_;
  uint64_t serial_ = 0;
  uint64_t loss_percent_ = 0;
  std::set<std::pair<int64_t, int64_t>> cut_;
  uint64_t trace_ = 0;
  std::vector<std::string> halts_;
};

}  // namespace klamm::broker::sim
