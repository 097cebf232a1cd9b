#include "storage/index.h"

#include <catch2/catch.hpp>

#include "storage/env/sim_disk.h"

using namespace klamm::storage;

TEST_CASE("an index finds the entry at or below") {
  const OffsetIndex index = {{10, 100}, {20, 200}};
  CHECK(floor_entry(index, 9) == nullptr);
  CHECK(floor_entry(index, 10)->position == 100);
  CHECK(floor_entry(index, 19)->position == 100);
  CHECK(floor_entry(index, 1000)->position == 200);
  const TimeIndex times = {{1000, 5}, {2000, 9}};
  CHECK(floor_offset(times, 1000) == 0);
  CHECK(floor_offset(times, 1001) == 5);
  CHECK(floor_offset(times, 5000) == 9);
}

TEST_CASE("an index has 8 and 12 byte entries on disk and survives the way") {
  SimDisk disk;
  REQUIRE(store_offset_index(disk, "/x.index", {{10, 100}, {20, 200}}));
  CHECK(disk.read_file("/x.index")->size() == 16);
  CHECK(*load_offset_index(disk, "/x.index", 1000) == OffsetIndex{{10, 100}, {20, 200}});
  REQUIRE(store_time_index(disk, "/x.timeindex", {{1000, 5}}));
  CHECK(disk.read_file("/x.timeindex")->size() == 12);
  CHECK(*load_time_index(disk, "/x.timeindex") == TimeIndex{{1000, 5}});
}

TEST_CASE("a damaged index is refused, a preallocated one is read up to its zeros") {
  SimDisk disk;
  REQUIRE(store_offset_index(disk, "/a", {{20, 200}, {10, 300}}));
  CHECK_FALSE(load_offset_index(disk, "/a", 1000).has_value());
  REQUIRE(store_offset_index(disk, "/b", {{20, 2000}}));
  CHECK_FALSE(load_offset_index(disk, "/b", 1000).has_value());
  REQUIRE(store_offset_index(disk, "/c", {{20, 200}, {0, 0}, {0, 0}}));
  CHECK(load_offset_index(disk, "/c", 1000)->size() == 1);
}
