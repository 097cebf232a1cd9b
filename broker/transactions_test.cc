// Transactions over the shards of one node: requests as clients send them, several under way at
// once, and who has the next turn drawn from a seed.
#include <catch2/catch.hpp>

#include "broker/test_cluster.h"
#include "protocol/generated/end_txn_request.h"
#include "protocol/generated/end_txn_response.h"
#include "protocol/generated/find_coordinator_request.h"
#include "protocol/generated/find_coordinator_response.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"
#include "protocol/generated/txn_offset_commit_request.h"
#include "protocol/generated/txn_offset_commit_response.h"

using namespace klamm;
using namespace klamm::broker;
using namespace klamm::protocol;
using namespace klamm::broker::test;

namespace {

struct TransactionCluster : Cluster {
  Uuid topic;
  ProducerIdentity me;

  TransactionCluster(size_t shards, uint64_t seed)
      : Cluster(shards, seed, {{"transaction.state.log.num.partitions", "5"}}) {
    topic = create_topic();
    for (const int8_t type : {0, 1}) {
      FindCoordinatorRequest find;
      find.key_type = type;
      find.coordinator_keys = {"x"};
      REQUIRE(client(0).ask<FindCoordinatorResponse>(find).coordinators.at(0).error_code ==
              ErrorCode::kNone);
    }
    begin();
  }
  void begin() {
    InitProducerIdRequest init;
    init.transactional_id = "x";
    init.transaction_timeout_ms = 60'000;
    const auto response = client(1).ask<InitProducerIdResponse>(init);
    REQUIRE(response.error_code == ErrorCode::kNone);
    me = {response.producer_id, response.producer_epoch};
  }
  // A batch of one record for each partition.
  ProduceRequest batches(int32_t sequence) const {
    ProduceRequest request;
    request.transactional_id = "x";
    request.acks = -1;
    request.timeout_ms = 1000;
    request.topic_data = {{.topic_id = topic}};
    for (int32_t i = 0; i < kPartitions; ++i) {
      request.topic_data[0].partition_data.push_back(
          {.index = i,
           .records = Payload(storage::make_batch(1, clock.wall_ms(), 20,
                                                  {.producer_id = me.id,
                                                   .producer_epoch = me.epoch,
                                                   .base_sequence = sequence,
                                                   .transactional = true}))});
    }
    return request;
  }
  std::set<ErrorCode> codes(const ProduceResponse& response) const {
    std::set<ErrorCode> codes;
    for (const auto& partition : response.responses.at(0).partition_responses) {
      codes.insert(partition.error_code);
    }
    return codes;
  }
  // What the end of the transaction is told; goes on as the next one.
  ErrorCode end(bool commits) {
    EndTxnRequest request;
    request.transactional_id = "x";
    request.producer_id = me.id;
    request.producer_epoch = me.epoch;
    request.committed = commits;
    const auto response = client(2).ask<EndTxnResponse>(request);
    if (response.error_code == ErrorCode::kNone) {
      me = {response.producer_id, response.producer_epoch};
    }
    return response.error_code;
  }
  // How many records a reader of committed ones gets, and where what is stable ends.
  std::pair<int64_t, int64_t> committed() {
    FetchRequest request = fetch_from_all(topic, 0, 0);
    request.isolation_level = 1;
    const auto response = client(3).ask<FetchResponse>(request);
    int64_t bytes = 0;
    int64_t stable = INT64_MAX;
    for (const auto& partition : response.responses.at(0).partitions) {
      bytes += partition.records ? static_cast<int64_t>(partition.records->size()) : 0;
      stable = std::min(stable, partition.last_stable_offset);
    }
    return {bytes, stable};
  }
};

const auto kNone = std::set{ErrorCode::kNone};

}  // namespace

TEST_CASE("a transaction over many shards is open, then committed or aborted everywhere") {
  const auto shards = GENERATE(1, 2, 3, 5);
  TransactionCluster f(static_cast<size_t>(shards), static_cast<uint64_t>(shards) * 7);
  REQUIRE(f.codes(f.client(2).ask<ProduceResponse>(f.batches(0))) == kNone);
  CHECK(f.codes(f.client(2).ask<ProduceResponse>(f.batches(1))) == kNone);
  CHECK(f.committed() == std::pair(int64_t{0}, int64_t{0}));
  const ProducerIdentity before = f.me;
  REQUIRE(f.end(true) == ErrorCode::kNone);
  CHECK(f.me == ProducerIdentity{before.id, static_cast<int16_t>(before.epoch + 1)});
  CHECK(f.committed().first > 0);
  CHECK(f.committed().second == 3);
  // The next one begins anew, and the one before is over.
  REQUIRE(f.codes(f.client(2).ask<ProduceResponse>(f.batches(0))) == kNone);
  CHECK(f.committed().second == 3);
  REQUIRE(f.end(false) == ErrorCode::kNone);
  CHECK(f.committed().second == 5);
  f.me = before;
  CHECK(f.codes(f.client(2).ask<ProduceResponse>(f.batches(2))) ==
        std::set{ErrorCode::kInvalidProducerEpoch});
}

TEST_CASE("batches that are sent before the first one's verdict come in their order") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    TransactionCluster f(3, seed);
    // Of one connection, on whose shard they are asked about one after the other.
    Client first(*f.node, *f.turns, 0);
    Client second(*f.node, *f.turns, 0);
    Client third(*f.node, *f.turns, 0);
    first.send(f.batches(0));
    second.send(f.batches(1));
    third.send(f.batches(2));
    f.turns->run();
    f.pass(200);  // additions of other shards may have been in the way
    for (Client* client : {&first, &second, &third}) {
      REQUIRE(client->is_answered());
      CHECK(f.codes(client->answer<ProduceResponse>()) == kNone);
    }
    REQUIRE(f.end(true) == ErrorCode::kNone);
    CHECK(f.committed().second == 4);
  }
}

TEST_CASE("offsets become stable with the transaction, also when the node has restarted") {
  TransactionCluster f(2, 5);
  const auto commit = [&] {
    TxnOffsetCommitRequest request;
    request.transactional_id = "x";
    request.group_id = "g";
    request.producer_id = f.me.id;
    request.producer_epoch = f.me.epoch;
    request.topics = {
        {.topic_id = f.topic, .partitions = {{.partition_index = 3, .committed_offset = 9}}}};
    const auto response = f.client(0).ask<TxnOffsetCommitResponse>(request);
    return response.topics.at(0).partitions.at(0).error_code;
  };
  const auto fetch = [&] {
    OffsetFetchRequest request;
    request.require_stable = true;
    request.groups = {
        {.group_id = "g", .topics = {{{.topic_id = f.topic, .partition_indexes = {3}}}}}};
    const auto response = f.client(1).ask<OffsetFetchResponse>(request);
    const auto& partition = response.groups.at(0).topics.at(0).partitions.at(0);
    return std::pair(partition.error_code, partition.committed_offset);
  };
  REQUIRE(commit() == ErrorCode::kNone);
  CHECK(fetch().first == ErrorCode::kUnstableOffsetCommit);
  const bool restarts = GENERATE(false, true);
  if (restarts) {
    f.start(3, 6);
    CHECK(fetch().first == ErrorCode::kUnstableOffsetCommit);
  }
  REQUIRE(f.end(true) == ErrorCode::kNone);
  CHECK(fetch() == std::pair(ErrorCode::kNone, int64_t{9}));
}

TEST_CASE("a transaction whose end was decided is ended by the next life of its coordinator") {
  TransactionCluster f(2, 9);
  REQUIRE(f.codes(f.client(2).ask<ProduceResponse>(f.batches(0))) == kNone);
  EndTxnRequest request;
  request.transactional_id = "x";
  request.producer_id = f.me.id;
  request.producer_epoch = f.me.epoch;
  request.committed = true;
  const size_t coordinator =
      f.node->shard(0).owner(kTransactionsTopic, coordinator_partition("x", 5));
  Client client(*f.node, *f.turns, coordinator);
  // Decided by its shard at once; the markers of the others are still in their mailboxes.
  client.send(request);
  f.start(3, 4);
  f.node->start_background();
  f.turns->run();
  CHECK(f.committed().second == 2);
}

TEST_CASE("a transaction that takes too long is aborted, and later records are stable again") {
  TransactionCluster f(3, 2);
  REQUIRE(f.codes(f.client(2).ask<ProduceResponse>(f.batches(0))) == kNone);
  f.pass(59'000);
  CHECK(f.committed().second == 0);
  f.pass(12'000);
  CHECK(f.committed().second == 2);
  CHECK(f.end(true) != ErrorCode::kNone);
}
