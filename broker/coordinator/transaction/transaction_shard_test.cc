// Transactions in virtual time. After every step a second shard fed only with the records must know
// the same transactions.
#include "broker/coordinator/transaction/transaction_shard.h"

#include <catch2/catch.hpp>

#include "broker/coordinator/fake_sink.h"
#include "storage/env/sim_disk.h"

using namespace klamm;
using namespace klamm::broker;

namespace {

struct FakeOutput : TransactionOutput {
  int64_t next_id = 1000;
  int16_t server_version = 2;
  std::vector<std::pair<TransactionEnd, std::function<void()>>> ends;

  void new_producer_id(std::function<void(Result<int64_t>)> done) override { done(next_id++); }
  void write_markers(TransactionEnd end, std::function<void()> done) override {
    ends.emplace_back(std::move(end), std::move(done));
  }
  int16_t version() const override { return server_version; }
};

struct Fixture {
  FakeSink sink;
  FakeOutput output;
  TransactionConfig config;
  std::unique_ptr<TransactionShard> shard;
  const std::set<TransactionPlace> places = {{"t", 0}, {"t", 2}, {"u", 1}};

  Fixture() { restart(); }
  // As after a change of leader.
  void restart() {
    output.ends.clear();
    shard = std::make_unique<TransactionShard>(sink, config, output);
    sink.shard = shard.get();
    sink.replay_into(*shard, sink.now);
    shard->loaded(sink.now);
  }
  // An answer may come after the question has been given up (FakeSink::hold): what it is told to
  // outlives the call.
  TransactionShard::Identified init(std::optional<ProducerIdentity> expected = {}) {
    const auto told = std::make_shared<TransactionShard::Identified>(
        TransactionShard::Identified{ErrorCode::kUnknownServerError, {}});
    shard->init({.id = "tx", .timeout_ms = 60'000, .expected = expected}, sink.now,
                [told](TransactionShard::Identified answer) { *told = answer; });
    check_twin();
    return *told;
  }
  ErrorCode add(ProducerIdentity producer, int16_t version = 2) {
    const auto told = std::make_shared<ErrorCode>(ErrorCode::kUnknownServerError);
    shard->add_partitions("tx", producer, places, version, sink.now,
                          [told](ErrorCode code) { *told = code; });
    check_twin();
    return *told;
  }
  TransactionShard::Identified end(ProducerIdentity producer, bool commits, int16_t version = 2) {
    const auto told = std::make_shared<TransactionShard::Identified>(
        TransactionShard::Identified{ErrorCode::kUnknownServerError, {}});
    shard->end({"tx", producer, commits, version}, sink.now,
               [told](TransactionShard::Identified answer) { *told = answer; });
    check_twin();
    return *told;
  }
  void finish_markers() {
    for (auto& [end, done] : std::exchange(output.ends, {})) {
      done();
    }
    check_twin();
  }
  void advance(int64_t ms) {
    const int64_t until = sink.now + ms;
    while (*shard->next_deadline() <= until) {
      sink.now = std::max(sink.now, *shard->next_deadline());
      shard->tick(sink.now);
    }
    sink.now = until;
    check_twin();
  }
  const Transaction& state() const { return shard->transactions().at("tx"); }
  void check_twin() const {
    FakeSink nowhere;
    FakeOutput nobody;
    TransactionShard twin(nowhere, config, nobody);
    sink.replay_into(twin, sink.now);
    REQUIRE(twin.transactions().size() == shard->transactions().size());
    for (const auto& [id, known] : shard->transactions()) {
      Transaction same = twin.transactions().at(id);
      same.last_epoch = known.last_epoch;  // not in the log
      CHECK(transaction_record(id, same, 2).value->view() ==
            transaction_record(id, known, 2).value->view());
    }
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a partition is not in a transaction before that is committed") {
  const auto first = init();
  sink.hold = true;
  add(first.producer);
  CHECK(shard->verify("tx", first.producer, {"t", 2}) == ErrorCode::kConcurrentTransactions);
  sink.held.back()(ErrorCode::kNone);
  CHECK(shard->verify("tx", first.producer, {"t", 2}) == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture, "a transaction has an epoch of its own and ends when all have markers") {
  const auto first = init();
  REQUIRE(first.error == ErrorCode::kNone);
  CHECK(first.producer == ProducerIdentity{1000, 0});
  CHECK(end(first.producer, true).error == ErrorCode::kInvalidTxnState);
  CHECK(add(first.producer) == ErrorCode::kNone);
  CHECK(shard->verify("tx", first.producer, {"t", 2}) == ErrorCode::kNone);
  CHECK(shard->verify("tx", first.producer, {"t", 1}) == ErrorCode::kTransactionAbortable);
  const auto ended = end(first.producer, true);
  CHECK(ended.error == ErrorCode::kNone);
  CHECK(ended.producer == ProducerIdentity{1000, 1});
  REQUIRE(output.ends.size() == 1);
  const TransactionEnd& markers = output.ends[0].first;
  CHECK(markers.commits);
  CHECK(markers.producer.epoch == 1);
  CHECK(markers.coordinator_epoch == 7);
  CHECK(markers.partitions == places);
  CHECK(state().state == TransactionState::kPrepareCommit);
  CHECK(add(ended.producer) == ErrorCode::kConcurrentTransactions);
  CHECK(end(first.producer, true).error == ErrorCode::kConcurrentTransactions);
  CHECK(end(first.producer, false).error == ErrorCode::kConcurrentTransactions);
  // A transaction that has not begun may be aborted, and too early.
  CHECK(end(ended.producer, false).error == ErrorCode::kConcurrentTransactions);
  finish_markers();
  CHECK(state().state == TransactionState::kCompleteCommit);
  CHECK(state().partitions.empty());
  // The answer was lost: the client asks again and is told the same.
  const auto again = end(first.producer, true);
  CHECK(again.error == ErrorCode::kNone);
  CHECK(again.producer == ended.producer);
  CHECK(add(first.producer) == ErrorCode::kProducerFenced);
  CHECK(add(ended.producer) == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture, "under the older protocol the epoch stays") {
  const auto producer = init().producer;
  CHECK(add(producer, 0) == ErrorCode::kNone);
  const auto ended = end(producer, false, 0);
  CHECK(ended.error == ErrorCode::kNone);
  CHECK(ended.producer == ProducerIdentity{});
  CHECK(output.ends.at(0).first.producer.epoch == producer.epoch);
  CHECK_FALSE(output.ends.at(0).first.commits);
  finish_markers();
  CHECK(state().state == TransactionState::kCompleteAbort);
  CHECK(end(producer, false, 0).error == ErrorCode::kNone);
  CHECK(end(producer, true, 0).error == ErrorCode::kInvalidTxnState);
  CHECK(add(producer, 0) == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture, "a second producer of the id aborts what is open and fences the first") {
  const auto first = init().producer;
  REQUIRE(add(first) == ErrorCode::kNone);
  CHECK(init().error == ErrorCode::kConcurrentTransactions);
  CHECK(state().state == TransactionState::kPrepareAbort);
  CHECK(init().error == ErrorCode::kConcurrentTransactions);
  finish_markers();
  const auto second = init();
  CHECK(second.error == ErrorCode::kNone);
  CHECK(second.producer == ProducerIdentity{1000, 2});
  CHECK(add(first) == ErrorCode::kProducerFenced);
  CHECK(end(first, true).error == ErrorCode::kProducerFenced);
  CHECK(init(first).error == ErrorCode::kProducerFenced);
  CHECK(add(second.producer) == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture,
                 "a producer goes on after an error under the next epoch, however often it asks") {
  const auto first = init().producer;
  const auto next = init(first);
  CHECK(next.producer == ProducerIdentity{1000, 1});
  CHECK(init(first).producer == next.producer);
  CHECK(init(next.producer).producer == ProducerIdentity{1000, 2});
  CHECK(init(ProducerIdentity{999, 0}).error == ErrorCode::kProducerFenced);
}

TEST_CASE_METHOD(Fixture, "a transaction that takes too long is aborted") {
  const auto producer = init().producer;
  REQUIRE(add(producer) == ErrorCode::kNone);
  advance(60'000);
  CHECK(state().state == TransactionState::kOngoing);
  advance(config.abort_check_ms);
  CHECK(state().state == TransactionState::kPrepareAbort);
  finish_markers();
  CHECK(state().state == TransactionState::kCompleteAbort);
  CHECK(end(producer, true).error == ErrorCode::kInvalidTxnState);
}

TEST_CASE_METHOD(Fixture, "the next coordinator ends what the last one had begun to end") {
  const auto producer = init().producer;
  REQUIRE(add(producer) == ErrorCode::kNone);
  REQUIRE(end(producer, true).error == ErrorCode::kNone);
  auto lost = std::move(output.ends);
  restart();
  REQUIRE(output.ends.size() == 1);
  CHECK(output.ends[0].first.commits);
  CHECK(output.ends[0].first.partitions == places);
  lost[0].second();  // the old one is gone, and does nothing
  CHECK(state().state == TransactionState::kPrepareCommit);
  finish_markers();
  CHECK(state().state == TransactionState::kCompleteCommit);
}

TEST_CASE_METHOD(Fixture,
                 "while a change is being written nobody else may change the transaction") {
  const auto producer = init().producer;
  sink.hold = true;
  ErrorCode told = ErrorCode::kUnknownServerError;
  shard->add_partitions("tx", producer, places, 2, sink.now, [&](ErrorCode code) { told = code; });
  CHECK(told == ErrorCode::kUnknownServerError);
  CHECK(add(producer) == ErrorCode::kConcurrentTransactions);
  CHECK(end(producer, true).error == ErrorCode::kConcurrentTransactions);
  CHECK(init().error == ErrorCode::kConcurrentTransactions);
  sink.hold = false;
  sink.held.at(0)(ErrorCode::kNone);
  CHECK(told == ErrorCode::kNone);
  CHECK(end(producer, true).error == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture,
                 "what cannot be written has not happened, and completing is tried again") {
  const auto producer = init().producer;
  sink.failure = ErrorCode::kCoordinatorNotAvailable;
  CHECK(add(producer) == ErrorCode::kCoordinatorNotAvailable);
  CHECK(state().state == TransactionState::kEmpty);
  sink.failure = ErrorCode::kNone;
  REQUIRE(add(producer) == ErrorCode::kNone);
  REQUIRE(end(producer, true).error == ErrorCode::kNone);
  sink.failure = ErrorCode::kCoordinatorNotAvailable;
  finish_markers();
  CHECK(state().state == TransactionState::kPrepareCommit);
  sink.failure = ErrorCode::kNone;
  advance(1'000);
  CHECK(state().state == TransactionState::kCompleteCommit);
}

TEST_CASE_METHOD(Fixture, "a producer id without epochs left is followed by a new one") {
  Transaction old;
  old.producer_id = old.previous_producer_id = 5;
  old.epoch = INT16_MAX - 1;
  old.timeout_ms = 60'000;
  old.updated_ms = sink.now;
  sink.append({transaction_record("tx", old, 2)}, [](ErrorCode) {});
  REQUIRE(add({5, INT16_MAX - 1}) == ErrorCode::kNone);
  const auto ended = end({5, INT16_MAX - 1}, true);
  CHECK(ended.producer == ProducerIdentity{1000, 0});
  CHECK(output.ends.at(0).first.producer.id == 5);
  CHECK(output.ends.at(0).first.producer.epoch == INT16_MAX);
  finish_markers();
  CHECK(state().producer_id == 1000);
  CHECK(end({5, INT16_MAX - 1}, true).producer == ProducerIdentity{1000, 0});
  CHECK(add({1000, 0}) == ErrorCode::kNone);
}

TEST_CASE_METHOD(Fixture, "ids that nobody has used for long are forgotten") {
  init();
  advance(config.id_expiration_ms - 2 * config.expiry_check_ms);
  CHECK(shard->transactions().size() == 1);
  advance(3 * config.expiry_check_ms);
  CHECK(shard->transactions().empty());
  CHECK(add({1000, 0}) == ErrorCode::kInvalidProducerIdMapping);
}

TEST_CASE_METHOD(Fixture, "what a client may not ask for is refused") {
  const auto ask = [this](TransactionShard::Init request) {
    ErrorCode told = ErrorCode::kNone;
    shard->init(request, sink.now,
                [&](TransactionShard::Identified answer) { told = answer.error; });
    return told;
  };
  CHECK(ask({.id = "", .timeout_ms = 1}) == ErrorCode::kInvalidRequest);
  CHECK(ask({.id = "a", .timeout_ms = 0}) == ErrorCode::kInvalidTransactionTimeout);
  CHECK(ask({.id = "a", .timeout_ms = 900'001}) == ErrorCode::kInvalidTransactionTimeout);
  CHECK(ask({.id = "a", .timeout_ms = 1, .two_phase_commit = true}) ==
        ErrorCode::kTransactionalIdAuthorizationFailed);
  CHECK(ask({.id = "a", .timeout_ms = 1, .keep_prepared = true}) == ErrorCode::kUnsupportedVersion);
  CHECK(shard->describe("a").error_code == ErrorCode::kTransactionalIdNotFound);
  CHECK(shard->verify("", {1, 0}, {"t", 0}) == ErrorCode::kInvalidRequest);
}

// Two producers of one id that ask for anything at any time, answers that get lost, markers that
// take their time, coordinators that go: who writes under the newest epoch is alone with it, and
// everything that was begun ends.
TEST_CASE("whatever clients ask for, a transaction has one owner and one end") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    Fixture f;
    storage::SimRandom random(seed);
    ProducerIdentity known[2];
    std::map<std::pair<int64_t, int16_t>, bool> outcomes;  // by marker: commits
    for (int step = 0; step < 300; ++step) {
      ProducerIdentity& own = known[random.next() % 2];
      const auto version = static_cast<int16_t>(seed % 2 == 0 ? 2 : 0);
      switch (random.next() % 7) {
        case 0:
          if (const auto told = f.init(); told.error == ErrorCode::kNone) {
            own = told.producer;
          }
          break;
        case 1:
        case 2: {
          const bool is_newest = f.shard->transactions().contains("tx") && own.id >= 0 &&
                                 own == ProducerIdentity{f.state().producer_id, f.state().epoch};
          const ErrorCode added = f.add(own, version);
          CHECK((added != ErrorCode::kNone || is_newest));
          break;
        }
        case 3:
        case 4:
          if (const auto told = f.end(own, random.next() % 2 == 0, version);
              told.error == ErrorCode::kNone && version == 2) {
            own = told.producer;
          }
          break;
        case 5: f.advance(static_cast<int64_t>(random.next() % 30'000)); break;
        default: random.next() % 4 == 0 ? f.restart() : f.finish_markers();
      }
      for (const auto& [end, done] : f.output.ends) {
        if (version == 2) {
          const auto [first, is_new] =
              outcomes.try_emplace({end.producer.id, end.producer.epoch}, end.commits);
          CHECK((is_new || first->second == end.commits));
        }
      }
    }
    f.finish_markers();
    f.advance(f.config.abort_check_ms * 8);
    f.finish_markers();
    CHECK_FALSE(f.state().is_ending());
    CHECK(f.state().state != TransactionState::kOngoing);
  }
}
