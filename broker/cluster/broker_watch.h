#pragma once
// The active controller's eye on the brokers' processes: one whose port refuses is fenced at once
// instead of when its session times out. A broker that is slow or cut off does not refuse. Lives on
// the controller's shard.
#include <functional>
#include <map>
#include <memory>

#include "replication/metadata/image.h"
#include "replication/transport.h"

namespace klamm::broker {

class BrokerWatch {
 public:
  // `gone` is told the broker and the epoch that it had.
  BrokerWatch(int32_t self, std::string listener, replication::Transport& transport,
              std::function<void(int32_t broker, int64_t epoch)> gone)
      : self_(self),
        listener_(std::move(listener)),
        transport_(transport),
        gone_(std::move(gone)) {}

  // Watches the brokers that are not fenced in the image; nobody where this node is not active.
  void follow(const replication::MetadataImage& image, bool active);

 private:
  struct Watched {
    int64_t epoch;
    std::shared_ptr<void> watch;
  };
  int32_t self_;
  std::string listener_;
  replication::Transport& transport_;
  std::function<void(int32_t, int64_t)> gone_;
  std::map<int32_t, Watched> watched_;
};

}  // namespace klamm::broker
