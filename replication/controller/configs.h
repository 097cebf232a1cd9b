#pragma once
// The records that change a resource's configuration.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// One of them; no value: the key goes.
protocol::Bytes config_record(ConfigResource type, const std::string& name, const std::string& key,
                              const std::optional<std::string>& value);

// `updates`: nullopt for a key that goes. Another min.insync.replicas makes what is known of
// eligible leaders void (KIP-966), where that feature is on.
std::vector<protocol::Bytes> config_records(
    const MetadataImage& image, ConfigResource type, const std::string& name,
    const std::map<std::string, std::optional<std::string>>& updates);

}  // namespace klamm::replication
