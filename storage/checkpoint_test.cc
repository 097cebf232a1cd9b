#include "storage/checkpoint.h"

#include <catch2/catch.hpp>

using namespace klamm::storage;

TEST_CASE("offset checkpoints have Kafka's text form") {
  const OffsetCheckpoint offsets = {{{"a", 0}, 5}, {{"b-c", 12}, 7}};
  CHECK(format_offsets(offsets) == "0\n2\na 0 5\nb-c 12 7\n");
  CHECK(*parse_offsets(format_offsets(offsets)) == offsets);
  CHECK(parse_offsets("")->empty());
}

TEST_CASE("a malformed checkpoint is refused") {
  for (const char* text :
       {"1\n0\n", "0\n2\na 0 5\n", "0\n1\na x 5\n", "0\n1\na 0\n", "0\n-1\n", "rubbish"}) {
    CHECK_FALSE(parse_offsets(text).has_value());
  }
}

TEST_CASE("leader epochs tell where an epoch ended (KIP-101)") {
  LeaderEpochs epochs;
  CHECK(epochs.assign(0, 0));
  CHECK(epochs.assign(2, 10));
  CHECK_FALSE(epochs.assign(2, 12));
  CHECK(epochs.assign(5, 20));
  CHECK(epochs.end_of(5, 33) == EpochStart{5, 33});
  CHECK(epochs.end_of(2, 33) == EpochStart{2, 20});
  CHECK(epochs.end_of(3, 33) == EpochStart{2, 20});
  CHECK(epochs.end_of(9, 33) == EpochStart{-1, -1});
  CHECK(epochs.epoch_at(15) == 2);
  CHECK(LeaderEpochs::parse(epochs.to_text())->entries() == epochs.entries());
  epochs.truncate_from_start(15);
  CHECK(epochs.entries().front() == EpochStart{2, 15});
  epochs.truncate_from_end(20);
  CHECK(epochs.latest() == 2);
}

TEST_CASE("properties follow Java's rules") {
  const auto p =
      parse_properties("# c\n a = b \nk:v\\\n  w\nempty=\npath=c\\:\\\\d\nlast=1\nlast=2");
  CHECK(p.at("a") == "b ");
  CHECK(p.at("k") == "vw");
  CHECK(p.at("empty").empty());
  CHECK(p.at("path") == "c:\\d");
  CHECK(p.at("last") == "2");
}

TEST_CASE("partition.metadata is 43 bytes without a last line feed") {
  const klamm::protocol::Uuid id{1, 2};
  CHECK(format_partition_metadata(id).size() == 43);
  CHECK(*parse_partition_metadata(format_partition_metadata(id)) == id);
  CHECK_FALSE(parse_partition_metadata("version: 0\n").has_value());
}
