// A whole node of several shards in one thread: which shard works next is drawn from a seed, the
// disk and the time are simulated. What clients see must not depend on the number of shards.
#include "broker/node.h"

#include <catch2/catch.hpp>
#include <deque>

#include "broker/handlers/table.h"
#include "protocol/frame.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"
#include "protocol/generated/delete_records_request.h"
#include "protocol/generated/delete_records_response.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/find_coordinator_request.h"
#include "protocol/generated/find_coordinator_response.h"
#include "protocol/generated/list_offsets_request.h"
#include "protocol/generated/list_offsets_response.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "storage/env/sim_disk.h"
#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;

namespace {

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
  std::unique_ptr<Turns> turns;
  std::unique_ptr<Node> node;
  std::vector<std::unique_ptr<Client>> clients;  // one on each shard

  Cluster(size_t shards, uint64_t seed) { start(shards, seed); }
  void start(size_t shards, uint64_t seed) {
    clients.clear();
    node.reset();
    auto config = BrokerConfig::make({{"log.dirs", "/a,/b"},
                                      {"klamm.shards", std::to_string(shards)},
                                      {"offsets.topic.num.partitions", "7"}});
    REQUIRE(config);
    auto opened = Node::open({disk, clock, random, workers}, std::move(*config), "");
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

ProduceRequest produce_to_all(const Uuid& topic, int64_t now) {
  ProduceRequest request;
  request.acks = -1;
  request.topic_data = {{.topic_id = topic}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    request.topic_data[0].partition_data.push_back(
        {.index = i, .records = Payload(storage::make_batch(i + 1, now))});
  }
  return request;
}

FetchRequest fetch_from_all(const Uuid& topic, int64_t offset, int32_t min_bytes) {
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

int64_t bytes_of(const FetchResponse& response) {
  int64_t bytes = 0;
  for (const auto& topic : response.responses) {
    for (const auto& partition : topic.partitions) {
      CHECK(partition.error_code == ErrorCode::kNone);
      bytes += partition.records ? static_cast<int64_t>(partition.records->size()) : 0;
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("a request for partitions of many shards is answered in its own order") {
  const auto shards = GENERATE(1, 2, 3, 5);
  Cluster cluster(static_cast<size_t>(shards), static_cast<uint64_t>(shards) * 11);
  const Uuid topic = cluster.create_topic();
  const auto produced =
      cluster.client(2).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
  ListOffsetsRequest ends;
  ends.replica_id = -1;
  ends.topics = {{.name = "t"}};
  for (int32_t i = 0; i < kPartitions; ++i) {
    const auto& partition = produced.responses.at(0).partition_responses.at(static_cast<size_t>(i));
    CHECK(partition.index == i);
    CHECK(partition.error_code == ErrorCode::kNone);
    CHECK(partition.base_offset == 0);
    ends.topics[0].partitions.push_back({.partition_index = i, .timestamp = -1});
  }
  const auto listed = cluster.client(0).ask<ListOffsetsResponse>(ends);
  for (int32_t i = 0; i < kPartitions; ++i) {
    CHECK(listed.topics.at(0).partitions.at(static_cast<size_t>(i)).offset == i + 1);
  }
  const auto fetched = cluster.client(4).ask<FetchResponse>(fetch_from_all(topic, 0, 1));
  CHECK(bytes_of(fetched) > kPartitions * 100);
}

TEST_CASE("a parked fetch is woken by news on any shard, and by its time limit") {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Cluster cluster(4, seed);
    const Uuid topic = cluster.create_topic();
    Client& consumer = cluster.client(seed);
    consumer.send(fetch_from_all(topic, 0, 2500));
    cluster.turns->run();
    CHECK_FALSE(consumer.is_answered());
    // Some partitions alone are not enough; all together are.
    ProduceRequest few = produce_to_all(topic, cluster.clock.wall_ms());
    few.topic_data[0].partition_data.resize(2);
    cluster.client(seed + 1).ask<ProduceResponse>(few);
    CHECK_FALSE(consumer.is_answered());
    cluster.client(seed + 2).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
    REQUIRE(consumer.is_answered());
    CHECK(bytes_of(consumer.answer<FetchResponse>()) >= 2500);
    consumer.send(fetch_from_all(topic, 1000, 1));  // out of range: an error does not wait
    cluster.turns->run();
    CHECK(consumer.is_answered());
    FetchRequest at_end = fetch_from_all(topic, 0, 1);
    for (int32_t i = 0; i < kPartitions; ++i) {
      at_end.topics[0].partitions[static_cast<size_t>(i)].fetch_offset =
          i + 1 + (i < 2 ? i + 1 : 0);
    }
    consumer.send(at_end);
    cluster.pass(499);
    CHECK_FALSE(consumer.is_answered());
    cluster.pass(1);
    REQUIRE(consumer.is_answered());
    CHECK(bytes_of(consumer.answer<FetchResponse>()) == 0);
  }
}

TEST_CASE("groups on every shard commit, and a restart with other shards finds everything") {
  Cluster cluster(3, 1);
  const Uuid topic = cluster.create_topic();
  cluster.client(0).ask<ProduceResponse>(produce_to_all(topic, cluster.clock.wall_ms()));
  FindCoordinatorRequest find;
  find.coordinator_keys = {"g0"};
  cluster.client(2).ask<FindCoordinatorResponse>(find);
  for (int i = 0; i < 20; ++i) {
    OffsetCommitRequest commit;
    commit.group_id = "g" + std::to_string(i);
    commit.generation_id_or_member_epoch = -1;
    commit.topics = {{.topic_id = topic}};
    commit.topics[0].partitions = {{.partition_index = 0, .committed_offset = i}};
    const auto committed = cluster.client(static_cast<size_t>(i)).ask<OffsetCommitResponse>(commit);
    REQUIRE(committed.topics.at(0).partitions.at(0).error_code == ErrorCode::kNone);
  }
  DeleteRecordsRequest remove;
  remove.topics = {{.name = "t", .partitions = {{.partition_index = 5, .offset = 4}}}};
  CHECK(cluster.client(1)
            .ask<DeleteRecordsResponse>(remove)
            .topics.at(0)
            .partitions.at(0)
            .low_watermark == 4);
  const bool clean = GENERATE(true, false);
  if (clean) {
    REQUIRE(cluster.node->close());
  }
  cluster.start(5, 2);
  OffsetFetchRequest fetch;
  for (int i = 0; i < 20; ++i) {
    fetch.groups.push_back({.group_id = "g" + std::to_string(i)});
    fetch.groups.back().topics.reset();
  }
  const auto offsets = cluster.client(4).ask<OffsetFetchResponse>(fetch);
  for (int i = 0; i < 20; ++i) {
    const auto& group = offsets.groups.at(static_cast<size_t>(i));
    CHECK(group.group_id == "g" + std::to_string(i));
    CHECK(group.topics.at(0).partitions.at(0).committed_offset == i);
  }
  ListOffsetsRequest starts;
  starts.replica_id = -1;
  starts.topics = {{.name = "t", .partitions = {{.partition_index = 5, .timestamp = -2}}}};
  CHECK(cluster.client(2).ask<ListOffsetsResponse>(starts).topics.at(0).partitions.at(0).offset ==
        4);
}
