#pragma once
// Transactional producers of the simulated cluster, each with an id and a group of its own, readers
// of what they commit, and the judge of both: a transaction is read whole or not at all, in the end
// and on the way; what was told to be committed is there, and what was aborted is not; nothing
// hangs. Producers die in the middle and come back while their last requests are still under way.
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/sim/sim_cluster.h"
#include "protocol/generated/produce_response.h"
#include "protocol/records/batch.h"

namespace klamm::broker::sim {

class Transactors {
 public:
  Transactors(SimCluster& cluster, size_t producers, int32_t partitions);

  // Creates the topic; to be called until it is there.
  bool create();
  void start();
  // Ends what is open, and then each id begins a last life, which aborts what the others left.
  void stop() { stopping_ = true; }
  bool is_idle() const;
  size_t committed() const;
  // Batches that were told to be in no transaction, for which there is no reason while nothing
  // happens to the cluster.
  size_t unconfirmed() const { return unconfirmed_; }
  // What is wrong, empty when nothing is. For a cluster that has healed, and that is idle.
  std::string check();
  const protocol::Uuid& topic_id() const { return topic_id_; }
  // What check() has found to be committed, by its value.
  const std::set<std::string>& committed_values() const { return committed_values_; }
  // How far the producers are, and what their coordinators know, for whoever looks for a fault.
  std::string describe();
  // Asks for the committed offsets of the groups. Calls back with what is wrong.
  void check_offsets(std::function<void(std::string)> done);

 private:
  enum class Outcome { kOpen, kCommitted, kAborted, kUnknown };
  struct Written {
    int32_t partition;
    bool acked = false;
  };
  struct Transaction {
    std::map<std::string, Written> records;  // by value
    bool offset_acked = false;
    Outcome outcome = Outcome::kOpen;
  };
  struct Producer {
    std::string id;
    ProducerIdentity identity;
    size_t coordinator = 0;
    std::map<int32_t, int32_t> sequences;
    std::vector<Transaction> transactions;
    std::vector<int32_t> plan;  // the partitions of the present one's records
    size_t step = 0;
    int lives = 0;        // answers to earlier ones are not heard
    bool unsure = false;  // a wish to commit has been sent, and not answered
    bool closed = false;
  };
  // The committed records of a partition, by offset.
  using Values = std::map<int64_t, std::string>;
  struct Reader {
    int32_t partition;
    int64_t position = 0;
    Values seen;
    bool fetching = false;
    size_t guess = 0;
  };

  uint64_t chance(uint64_t of) { return cluster_.random().next() % of; }
  // Does `work` a little later, unless the producer has begun another life.
  void later(Producer& producer, std::function<void()> work);
  void begin_life(Producer& producer);
  void init(Producer& producer);
  void begin(Producer& producer);
  void go_on(Producer& producer);
  void write(Producer& producer);
  void on_written(Producer& producer, const std::string& value, ErrorCode code);
  void commit_offset(Producer& producer);
  void end(Producer& producer, bool commits);
  void on_ended(Producer& producer, bool commits, ErrorCode code, ProducerIdentity next);
  void give_up(Producer& producer);
  void fetch(Reader& reader);
  void take(Reader& reader, const protocol::Bytes& records,
            std::map<int64_t, int64_t> aborted_from);
  static std::string tell(const Transaction& transaction, const std::map<std::string, int>& times);
  std::string judge(const Producer& producer, const std::map<std::string, int>& times) const;
  std::string read_log(size_t node, int32_t partition, Values& values);
  void ask_offset(size_t index, int tries, std::function<void(std::string)> done);
  std::string judge_offset(const Producer& producer, int64_t offset) const;

  SimCluster& cluster_;
  protocol::Uuid topic_id_;
  bool creating_ = false;
  bool stopping_ = false;
  size_t unconfirmed_ = 0;
  std::vector<Producer> producers_;
  std::vector<Reader> readers_;
  std::set<std::string> committed_values_;
  std::string wrong_;
};

}  // namespace klamm::broker::sim
