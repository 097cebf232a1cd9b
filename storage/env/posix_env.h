#pragma once
// The real disk, clock and random source.
#include <memory>

#include "storage/env/clock.h"
#include "storage/env/disk.h"

namespace klamm::storage {

std::unique_ptr<Disk> make_posix_disk();
std::unique_ptr<Clock> make_posix_clock();
std::unique_ptr<Random> make_posix_random();

}  // namespace klamm::storage
