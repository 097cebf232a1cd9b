#pragma once
// What the transaction coordinators of one shard ask of the cluster: producer ids, and that the
// leaders of all partitions of a transaction write its marker. What goes to one broker while a
// request is under way there shares the next one. Tries again until every partition has its marker
// or is gone.
#include <map>
#include <memory>
#include <vector>

#include "broker/coordinator/transaction/transaction_shard.h"
#include "replication/transport.h"

namespace klamm::broker {

class Broker;

class TransactionMarkers : public TransactionOutput {
 public:
  explicit TransactionMarkers(Broker& broker) : broker_(broker) {}

  void new_producer_id(std::function<void(Result<int64_t>)> done) override;
  void write_markers(TransactionEnd end, std::function<void()> done) override;
  int16_t version() const override;

 private:
  struct Ending {
    TransactionEnd end;  // with the partitions that are left
    std::function<void()> done;
  };
  struct Share {
    std::shared_ptr<Ending> ending;
    std::vector<TransactionPlace> places;
  };
  struct Outgoing {
    std::vector<Share> waiting;
    bool asking = false;
  };

  void hand_out(const std::shared_ptr<Ending>& ending, const std::set<TransactionPlace>& places);
  void send(int32_t leader);
  void send_here(std::vector<Share> shares);
  void send_there(int32_t leader, const replication::Address& to, std::vector<Share> shares);
  void settle(const Share& share, const std::map<TransactionPlace, ErrorCode>& codes);
  void try_again(const std::shared_ptr<Ending>& ending, std::set<TransactionPlace> places);

  Broker& broker_;
  std::map<int32_t, Outgoing> outgoing_;  // by leader
};

}  // namespace klamm::broker
