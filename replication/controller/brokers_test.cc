#include "replication/controller/brokers.h"

#include <catch2/catch.hpp>

using namespace klamm;
using namespace klamm::replication;

namespace {

struct BrokersFixture {
  Brokers brokers{99, 9'000};
  ImagePtr image = std::make_shared<MetadataImage>();
  int64_t offset = 10;

  void apply(const std::vector<Bytes>& records) {
    Delta delta(*image);
    for (const Bytes& record : records) {
      REQUIRE(delta.apply(record, offset++, 1));
    }
    image = delta.build();
  }
  static protocol::BrokerRegistrationRequest registration(int32_t id, uint64_t incarnation) {
    protocol::BrokerRegistrationRequest request;
    request.broker_id = id;
    request.cluster_id = "c";
    request.incarnation_id = {7, incarnation};
    request.log_dirs = {Uuid{1, static_cast<uint64_t>(id) + 1000}};
    return request;
  }
  Result<int64_t> enter(int32_t id, uint64_t incarnation, int64_t now_ms) {
    TRY(const auto entered,
        brokers.enter(*image, "c", registration(id, incarnation), offset, now_ms));
    apply(entered.records);
    return entered.epoch;
  }
  protocol::BrokerHeartbeatResponse beat(int32_t id, int64_t epoch, int64_t now_ms,
                                         bool stop = false) {
    protocol::BrokerHeartbeatRequest request;
    request.broker_id = id;
    request.broker_epoch = epoch;
    request.current_metadata_offset = image->offset;
    request.want_shut_down = stop;
    auto answer = brokers.heartbeat(*image, request, now_ms);
    apply(answer.records);
    return answer.response;
  }
};

}  // namespace

TEST_CASE("a broker's epoch is the offset of its registration, and a heartbeat lets it in") {
  BrokersFixture f;
  const auto epoch = f.enter(1, 1, 0);
  REQUIRE(epoch);
  CHECK(*epoch == 10);
  CHECK(f.image->brokers.at(1).epoch == 10);
  CHECK(f.image->brokers.at(1).fenced);
  CHECK_FALSE(f.beat(1, *epoch, 10).is_fenced);
  CHECK_FALSE(f.image->brokers.at(1).fenced);
}

TEST_CASE("a second process of the same id must wait until the first is silent") {
  BrokersFixture f;
  const int64_t epoch = *f.enter(1, 1, 0);
  f.beat(1, epoch, 10);
  CHECK(f.enter(1, 2, 5'000).error().code == ErrorCode::kDuplicateBrokerRegistration);
  REQUIRE(f.enter(1, 2, 9'020));
  CHECK(f.beat(1, epoch, 9'030).error_code == ErrorCode::kStaleBrokerEpoch);
}

TEST_CASE("registrations that cannot be right are refused") {
  BrokersFixture f;
  auto request = BrokersFixture::registration(1, 1);
  request.cluster_id = "other";
  CHECK(f.brokers.enter(*f.image, "c", request, 10, 0).error().code ==
        ErrorCode::kInconsistentClusterId);
  request = BrokersFixture::registration(1, 1);
  request.log_dirs.clear();
  CHECK(f.brokers.enter(*f.image, "c", request, 10, 0).error().code ==
        ErrorCode::kInvalidRegistration);
  REQUIRE(f.enter(2, 1, 0));
  request.log_dirs = {Uuid{1, 1002}};  // broker 2's
  CHECK(f.brokers.enter(*f.image, "c", request, 20, 0).error().code ==
        ErrorCode::kInvalidRegistration);
}

TEST_CASE("a session without heartbeats expires, but not that of the controller's own process") {
  BrokersFixture f;
  f.beat(1, *f.enter(1, 1, 0), 10);
  f.beat(99, *f.enter(99, 1, 0), 10);
  CHECK_FALSE(f.brokers.expired(*f.image, 9'000).has_value());
  CHECK(f.brokers.expired(*f.image, 9'010) == 1);
  f.apply(f.brokers.fence(*f.image, 1));
  CHECK(f.image->brokers.at(1).fenced);
  CHECK_FALSE(f.brokers.expired(*f.image, 99'000).has_value());
}

TEST_CASE("a controlled stop is granted once the others know of it") {
  BrokersFixture f;
  const int64_t one = *f.enter(1, 1, 0);
  const int64_t two = *f.enter(2, 1, 0);
  f.beat(1, one, 10);
  f.beat(2, two, 10);
  CHECK_FALSE(f.beat(1, one, 20, true).should_shut_down);
  CHECK(f.image->brokers.at(1).in_controlled_shutdown);
  CHECK_FALSE(f.beat(1, one, 30, true).should_shut_down);
  f.beat(2, two, 40);
  CHECK(f.beat(1, one, 50, true).should_shut_down);
  CHECK(f.image->brokers.at(1).fenced);
}
