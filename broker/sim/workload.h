#pragma once
// A load for the simulated cluster and its checker: for each partition an idempotent producer that
// sends one batch at a time and sends it again until it is acknowledged, and a plain one that waits
// for nothing, sends each record once, and wants it on the leader or on all in turn; and at the end
// a look at every replica's log.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/sim/readers.h"
#include "broker/sim/sim_cluster.h"
#include "protocol/records/builder.h"

namespace klamm::broker::sim {

class Workload {
 public:
  Workload(SimCluster& cluster, std::string topic, int32_t partitions,
           std::map<std::string, std::string> config = {});

  // Creates the topic; to be called until it is there.
  bool create();
  // Begins to produce, to end of its own when `stop` was called and all is acknowledged.
  void start();
  void stop() { stopping_ = true; }
  const protocol::Uuid& topic_id() const { return topic_id_; }
  // The nodes that hold the first partition, by the newest that anybody knows.
  std::vector<size_t> holders();
  // Has the controller move a partition to some three brokers, or elect first replicas.
  void reassign();
  void elect();
  // Puts the replicas of a partition into another order: whose first is to lead when first replicas
  // are elected. The node that is first; nullopt when nobody tells the order.
  std::optional<size_t> reorder();
  // To be called again and again: two leaders in one epoch, or a leader's high watermark that has
  // gone back.
  void watch();
  // Every partition is in sync on all its replicas, and no move is under way.
  bool is_whole();
  bool is_idle() const;
  size_t acknowledged() const;
  // What is wrong, empty when nothing is: an acknowledged record is lost or moved, one is there
  // twice, replicas differ, or consumers have read something else. For a cluster that has healed
  // and is idle.
  std::string check(const Readers& readers);
  // How each node sees the partitions, for whoever looks for a fault.
  std::string describe();

 private:
  struct Producer {
    int32_t partition;
    int64_t producer_id = -1;
    int32_t sequence = 0;
    int64_t value = 0;                 // of the record on its way
    std::map<int64_t, int64_t> acked;  // offsets by value
    bool asking = false;
    size_t guess = 0;  // which broker to ask when no leader is known
  };
  // What is acknowledged with acks=1 may be lost with its leader: so logs get to differ.
  struct PlainProducer {
    int32_t partition;
    int64_t sent = 0;
    size_t open = 0;                       // records on their way, and whether there is a next one
    std::map<std::string, int64_t> acked;  // offsets by value, of those that all have
    size_t guess = 0;
  };
  void reassign(int32_t partition, std::vector<int32_t> brokers);
  void go_on(Producer& producer);
  void write(PlainProducer& producer);
  void get_id(Producer& producer);
  void produce(Producer& producer);
  void on_produced(Producer& producer, int64_t offset, ErrorCode code);
  void again(Producer& producer);
  size_t broker_for(int32_t partition, size_t& guess);
  template <class Done>
  void send(size_t broker, int32_t partition, int16_t acks, const std::string& value,
            const protocol::BatchOptions& options, Done done);
  std::string check_partition(const Producer& producer, const Readers& readers);
  // The values in a replica's log, by offset.
  Result<std::map<int64_t, std::string>> read(Node& node, int32_t partition, int64_t end);

  SimCluster& cluster_;
  std::string topic_;
  std::map<std::string, std::string> config_;
  protocol::Uuid topic_id_;
  bool created_ = false;
  bool creating_ = false;
  bool stopping_ = false;
  std::vector<Producer> producers_;
  std::vector<PlainProducer> plain_producers_;  // of the same partitions
  struct Reign {
    size_t node;
    int64_t high_watermark;
  };
  std::map<std::pair<int32_t, int32_t>, Reign> reigns_;  // by partition and epoch
  std::string wrong_;
};

}  // namespace klamm::broker::sim
