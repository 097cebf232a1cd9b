#pragma once
// A whole node of several shards in one thread, for tests: which shard works next is drawn from a
// seed, the disk and the time are simulated.
#include <catch2/catch.hpp>
#include <deque>

#include "broker/handlers/table.h"
#include "broker/node.h"
#include "protocol/frame.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "storage/env/sim_disk.h"
#include "storage/test_util.h"

namespace klamm::broker::test {

using namespace protocol;

constexpr int32_t kPartitions = 12;

// Mailboxes of one thread; remembers whose turn it is.
class Turns : public Mailboxes {
 public:
  Turns(size_t shards, uint64_t seed) : queues_(shards), random_(seed) {}
  void post(size_t shard, Task task) override { queues_[shard].push_back(std::move(task)); }
  size_t current() const { return current_; }
  void as(size_t shard, const std::function<void()>& work) {
    const size_t before = std::exchange(current_, shard);
    work();
    current_ = before;
  }
  // Until nobody has anything to do.
  void run() {
    while (std::any_of(queues_.begin(), queues_.end(), [](const auto& q) { return !q.empty(); })) {
      const size_t shard = random_.next() % queues_.size();
      if (!queues_[shard].empty()) {
        Task task = std::move(queues_[shard].front());
        queues_[shard].pop_front();
        as(shard, [&] { task(); });
      }
    }
  }

 private:
  std::vector<std::deque<Task>> queues_;
  storage::SimRandom random_;
  size_t current_ = 0;
};

// A connection on one shard.
class Client : public ReplySink, public ReplyRoute {
 public:
  Client(Node& node, Turns& turns, size_t shard) : node_(node), turns_(turns), shard_(shard) {}

  bool is_here() const override { return turns_.current() == shard_; }
  void post(std::move_only_function<void()> task) override { turns_.post(shard_, std::move(task)); }
  void complete(uint64_t, Writer frame) override {
    CHECK(is_here());
    std::string content;
    size_t at = 0;
    const auto head = [&](size_t to) {
      content.append(reinterpret_cast<const char*>(frame.head().data()) + at, to - at);
      at = to;
    };
    for (const Splice& splice : frame.splices()) {
      head(splice.at);
      std::string part(splice.piece.size, '\0');
      if (splice.piece.source == nullptr) {
        part = splice.piece.bytes.view();
      } else {
        REQUIRE(splice.piece.source->read_at(
            splice.piece.position, {reinterpret_cast<uint8_t*>(part.data()), part.size()}));
      }
      content += part;
    }
    head(frame.head().size());
    answer_ = Bytes::copy_of(content);
  }
  void complete_without_answer(uint64_t) override {}
  void abandon() override {}

  template <class Request>
  void send(const Request& request) {
    const int16_t version = Request::kVersionMax;
    Writer body;
    request.encode(body, version);
    const Bytes bytes = body.flatten();
    Reader in(bytes);
    RequestContext context{node_.shard(shard_), version, "test", "/test", "PLAINTEXT"};
    answer_.reset();
    turns_.as(shard_, [&] {
      CHECK(find_handler(static_cast<int16_t>(Request::kKey))
                ->invoke(
                    context, in,
                    {self_, this, 0, 7, version,
                     response_header_is_flexible(static_cast<int16_t>(Request::kKey), version)}));
    });
  }
  bool is_answered() const { return answer_.has_value(); }
  template <class Response>
  Response answer() {
    REQUIRE(answer_);
    Reader in(answer_->slice(9, answer_->size() - 9));  // length, correlation id, tags
    Response response;
    response.decode(in, Response::kVersionMax);
    REQUIRE(in.ok());
    return response;
  }
  template <class Response, class Request>
  Response ask(const Request& request) {
    send(request);
    turns_.run();
    return answer<Response>();
  }

 private:
  Node& node_;
  Turns& turns_;
  size_t shard_;
  std::optional<Bytes> answer_;
  std::shared_ptr<ReplySink> self_{this, [](ReplySink*) {}};
};

struct Cluster {
  storage::SimDisk disk;
  storage::SimClock clock;
  storage::SimRandom random{3};
  storage::InlineWorkers workers;
  ConfigMap more;
  int halts = 0;
  std::unique_ptr<Turns> turns;
  std::unique_ptr<Node> node;
  std::vector<std::unique_ptr<Client>> clients;  // one on each shard

  Cluster(size_t shards, uint64_t seed, ConfigMap config = {}) : more(std::move(config)) {
    start(shards, seed);
  }
  void start(size_t shards, uint64_t seed) {
    clients.clear();
    node.reset();
    ConfigMap given = more;
    given.insert({{"log.dirs", "/a,/b"},
                  {"klamm.shards", std::to_string(shards)},
                  {"offsets.topic.num.partitions", "7"}});
    auto config = BrokerConfig::make(std::move(given));
    REQUIRE(config);
    auto opened = Node::open(
        {disk, clock, random, workers, 1, SIZE_MAX, [this](const std::string&) { ++halts; }},
        std::move(*config), "");
    REQUIRE(opened);
    node = std::move(*opened);
    turns = std::make_unique<Turns>(shards, seed);
    node->use(*turns);
    for (size_t i = 0; i < shards; ++i) {
      clients.push_back(std::make_unique<Client>(*node, *turns, i));
    }
  }
  Client& client(size_t i) { return *clients[i % clients.size()]; }
  void pass(int64_t ms) {
    clock.advance(ms);
    for (size_t i = 0; i < clients.size(); ++i) {
      turns->as(i, [&] { node->shard(i).timers().run_due(clock.monotonic_ms()); });
    }
    turns->run();
  }
  Uuid create_topic() {
    CreateTopicsRequest request;
    request.topics = {{.name = "t", .num_partitions = kPartitions, .replication_factor = 1}};
    const auto response = client(1).ask<CreateTopicsResponse>(request);
    REQUIRE(response.topics.at(0).error_code == ErrorCode::kNone);
    return response.topics[0].topic_id;
  }
};

inline ProduceRequest produce_to_all(const Uuid& topic, int64_t now) {
  ProduceRequest request;
  request.acks = -1;
  request.topic_data = {{.topic_id = topic}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    request.topic_data[0].partition_data.push_back(
        {.index = i, .records = Payload(storage::make_batch(i + 1, now))});
  }
  return request;
}

inline FetchRequest fetch_from_all(const Uuid& topic, int64_t offset, int32_t min_bytes) {
  FetchRequest request;
  request.max_wait_ms = 500;
  request.min_bytes = min_bytes;
  request.max_bytes = 1 << 20;
  request.session_epoch = -1;
  request.topics = {{.topic_id = topic}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    request.topics[0].partitions.push_back(
        {.partition = i, .fetch_offset = offset, .partition_max_bytes = 1 << 20});
  }
  return request;
}

}  // namespace klamm::broker::test
