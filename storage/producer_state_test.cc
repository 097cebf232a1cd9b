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
