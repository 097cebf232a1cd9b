#pragma once
// An image as the records that make it: what a snapshot of the metadata log holds.
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// In an order that applying them allows; the same image gives the same records.
std::vector<Bytes> to_records(const MetadataImage& image);

}  // namespace klamm::replication
