#include "storage/producer_state.h"

#include <catch2/catch.hpp>

#include "storage/test_util.h"

using namespace klamm;
using namespace klamm::storage;

namespace {

protocol::Bytes batch(int64_t offset, int16_t epoch, int32_t sequence, int count = 2) {
  return make_batch(count, 1000, 10,
                    {.base_offset = offset,
                     .producer_id = 7,
                     .producer_epoch = epoch,
                     .base_sequence = sequence});
}
void apply(ProducerState& state, const protocol::Bytes& bytes) {
  state.update(*protocol::BatchView::parse(bytes.span()));
}
auto check(const ProducerState& state, const protocol::Bytes& bytes) {
  return state.check(*protocol::BatchView::parse(bytes.span()));
}

}  // namespace

TEST_CASE("a repeated batch is a duplicate with the offsets of the first (KIP-98)") {
  ProducerState state;
  apply(state, batch(100, 0, 0));
  apply(state, batch(102, 0, 2));
  const auto verdict = check(state, batch(0, 0, 0));
  REQUIRE(verdict.has_value());
  CHECK(verdict->duplicate);
  CHECK(verdict->original.base_offset() == 100);
  CHECK_FALSE(check(state, batch(0, 0, 4))->duplicate);
}

TEST_CASE("only the last five batches are remembered") {
  ProducerState state;
  for (int i = 0; i < 6; ++i) {
    apply(state, batch(2 * i, 0, 2 * i));
  }
  CHECK(check(state, batch(0, 0, 2))->duplicate);
  CHECK(check(state, batch(0, 0, 0)).error().code == ErrorCode::kOutOfOrderSequenceNumber);
}

TEST_CASE("a gap and an old epoch are refused, a new epoch starts at zero") {
  ProducerState state;
  apply(state, batch(0, 3, 0));
  CHECK(check(state, batch(0, 3, 3)).error().code == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(check(state, batch(0, 2, 2)).error().code == ErrorCode::kInvalidProducerEpoch);
  CHECK(check(state, batch(0, 4, 1)).error().code == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(check(state, batch(0, 4, 0)).has_value());
}

namespace {

protocol::Bytes transactional(int16_t epoch, int32_t sequence, bool control = false) {
  if (control) {
    return build_end_marker(7, epoch, {.aborts = false, .coordinator_epoch = 0}, 1000);
  }
  return make_batch(2, 1000, 10,
                    {.producer_id = 7,
                     .producer_epoch = epoch,
                     .base_sequence = sequence,
                     .transactional = true});
}
ErrorCode outcome(const ProducerState& state, const protocol::Bytes& bytes, AppendOrigin origin) {
  const auto verdict = state.check(*protocol::BatchView::parse(bytes.span()), origin);
  return verdict ? ErrorCode::kNone : verdict.error().code;
}
uint64_t begin(ProducerState& state, const protocol::Bytes& bytes) {
  const auto batch = protocol::BatchView::parse(bytes.span());
  return state.begin_verification(batch->producer_id(), batch->producer_epoch(),
                                  batch->base_sequence(), 5);
}

}  // namespace

TEST_CASE("a transactional batch is taken once its transaction is verified (KIP-890)") {
  ProducerState state;
  const auto first = transactional(0, 0);
  const auto verified = [](uint64_t token) { return AppendOrigin{.verification = token}; };
  CHECK(outcome(state, first, verified(0)) == ErrorCode::kInvalidTxnState);
  const uint64_t token = begin(state, first);
  REQUIRE(token != 0);
  CHECK(outcome(state, first, verified(token + 1)) == ErrorCode::kInvalidTxnState);
  CHECK(outcome(state, first, verified(token)) == ErrorCode::kNone);
  SECTION("what is open needs no verification") {
    apply(state, first);
    CHECK(begin(state, transactional(0, 2)) == 0);
    CHECK(outcome(state, transactional(0, 2), verified(0)) == ErrorCode::kNone);
    CHECK(outcome(state, batch(0, 0, 2), {}) == ErrorCode::kInvalidTxnState);
  }
  SECTION("a marker in between makes it void") {
    apply(state, transactional(0, 0, true));
    CHECK(outcome(state, first, verified(token)) == ErrorCode::kInvalidTxnState);
    CHECK(begin(state, first) != token);
  }
  SECTION("under transaction.version 2 a marker that is repeated leaves it") {
    const auto marker = transactional(0, 0, true);
    apply(state, marker);
    const uint64_t next = begin(state, first);
    state.update(*protocol::BatchView::parse(marker.span()), 2);
    CHECK(outcome(state, first, verified(next)) == ErrorCode::kNone);
    apply(state, marker);
    CHECK(outcome(state, first, verified(next)) == ErrorCode::kInvalidTxnState);
  }
  SECTION("under transaction.version 2 the marker of the transaction before leaves it") {
    apply(state, first);
    const auto next = transactional(1, 0);
    const uint64_t asked = begin(state, next);
    const auto marker = transactional(1, 0, true);
    state.update(*protocol::BatchView::parse(marker.span()), 2);
    CHECK(outcome(state, next, verified(asked)) == ErrorCode::kNone);
    const auto own = transactional(2, 0, true);
    state.update(*protocol::BatchView::parse(own.span()), 2);
    CHECK(outcome(state, transactional(2, 0), verified(asked)) == ErrorCode::kInvalidTxnState);
  }
  SECTION("a later batch does not pass an earlier one that failed") {
    CHECK(begin(state, transactional(0, 2)) == token);
    CHECK(outcome(state, transactional(0, 2), verified(token)) ==
          ErrorCode::kOutOfOrderSequenceNumber);
    CHECK(outcome(state, first, verified(token)) == ErrorCode::kNone);
  }
  SECTION("it is forgotten after a while") {
    state.expire(6);
    CHECK(outcome(state, first, verified(token)) == ErrorCode::kInvalidTxnState);
  }
}

TEST_CASE("under transaction.version 2 a transaction begins at sequence 0") {
  ProducerState state;
  const auto late = transactional(0, 3);
  const AppendOrigin v1{.verification = begin(state, late)};
  CHECK(outcome(state, late, v1) == ErrorCode::kNone);
  const AppendOrigin v2{.transaction_version = 2, .verification = begin(state, late)};
  CHECK(outcome(state, late, v2) == ErrorCode::kOutOfOrderSequenceNumber);
}

TEST_CASE("a marker of transaction.version 2 brings the next epoch, and may be repeated") {
  ProducerState state;
  apply(state, transactional(3, 0));
  const AppendOrigin v1{AppendOrigin::Writer::kCoordinator};
  const AppendOrigin v2{AppendOrigin::Writer::kCoordinator, 2};
  CHECK(outcome(state, transactional(3, 0, true), v1) == ErrorCode::kNone);
  CHECK(outcome(state, transactional(3, 0, true), v2) == ErrorCode::kInvalidProducerEpoch);
  CHECK(outcome(state, transactional(4, 0, true), v2) == ErrorCode::kNone);
  apply(state, transactional(4, 0, true));
  CHECK(outcome(state, transactional(4, 0, true), v2) == ErrorCode::kNone);
  CHECK(outcome(state, transactional(3, 0, true), v2) == ErrorCode::kInvalidProducerEpoch);
}

TEST_CASE("a coordinator's batches have no sequence") {
  ProducerState state;
  const AppendOrigin coordinator{AppendOrigin::Writer::kCoordinator};
  apply(state, transactional(3, -1));
  CHECK(outcome(state, transactional(3, -1), coordinator) == ErrorCode::kNone);
  CHECK(outcome(state, transactional(2, -1), coordinator) == ErrorCode::kInvalidProducerEpoch);
  const auto back = ProducerState::from_snapshot(state.to_snapshot());
  REQUIRE(back);
  CHECK(back->producers().at(7).batches.size() == 1);
}

TEST_CASE("an unknown producer may start anywhere") {
  CHECK(check(ProducerState(), batch(0, 0, 55)).has_value());
}

TEST_CASE("a snapshot keeps the last batch of each producer and detects damage") {
  ProducerState state;
  apply(state, batch(100, 1, 0));
  std::string snapshot = state.to_snapshot();
  CHECK(snapshot.size() == 10 + 46);
  const auto back = ProducerState::from_snapshot(snapshot);
  REQUIRE(back.has_value());
  CHECK(check(*back, batch(0, 1, 0))->duplicate);
  for (size_t i = 0; i < snapshot.size(); ++i) {
    std::string damaged = snapshot;
    damaged[i] ^= 4;
    CHECK_FALSE(ProducerState::from_snapshot(damaged).has_value());
  }
  CHECK(ProducerState().to_snapshot().size() == 10);
}

TEST_CASE("producers that are silent for long are forgotten") {
  ProducerState state;
  apply(state, batch(0, 0, 0));
  state.expire(1000);
  CHECK(state.size() == 1);
  state.expire(2000);
  CHECK(state.size() == 0);
}
