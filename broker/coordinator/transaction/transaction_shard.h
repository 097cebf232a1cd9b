#pragma once
// The transactions of one partition of __transaction_state (KIP-98, 360, 447, 890): who may write
// under a transactional id, what a transaction has touched, and its end in two phases. A state
// machine: requests and the time come in, answers, records and markers go out.
//
//   Empty --add--> Ongoing --end--> PrepareCommit | PrepareAbort --all markers written-->
//   CompleteCommit | CompleteAbort --add--> Ongoing
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group/respond.h"
#include "broker/coordinator/runtime.h"
#include "broker/coordinator/transaction/transaction.h"
#include "protocol/generated/describe_transactions_response.h"
#include "protocol/generated/list_transactions_response.h"

namespace klamm::broker {

struct TransactionConfig {
  int32_t timeout_max_ms = 900'000;
  bool two_phase_commit = false;
  int64_t id_expiration_ms = 7 * 86'400'000LL;
  int64_t abort_check_ms = 10'000;
  int64_t expiry_check_ms = 3'600'000;
};

// What the leaders of a transaction's partitions are to write.
struct TransactionEnd {
  ProducerIdentity producer;
  bool commits = false;
  int32_t coordinator_epoch = -1;
  int16_t version = 0;
  std::set<TransactionPlace> partitions;
};

// What the coordinator asks of its surroundings. Answers may come at once or later, and are not
// heard when the shard is gone.
class TransactionOutput {
 public:
  virtual ~TransactionOutput() = default;
  virtual void new_producer_id(std::function<void(Result<int64_t>)> done) = 0;
  // `done` once every partition has its marker, or is gone.
  virtual void write_markers(TransactionEnd end, std::function<void()> done) = 0;
  // The cluster's transaction.version.
  virtual int16_t version() const = 0;
};

class TransactionShard : public CoordinatorShard {
 public:
  TransactionShard(RecordSink& sink, const TransactionConfig& config, TransactionOutput& output)
      : sink_(sink), config_(config), output_(output) {}

  struct Init {
    std::string id;
    int32_t timeout_ms = 0;
    bool two_phase_commit = false;
    bool keep_prepared = false;
    std::optional<ProducerIdentity> expected;  // KIP-360: it goes on after an error
  };
  struct Identified {
    ErrorCode error = ErrorCode::kNone;
    ProducerIdentity producer;  // in force
  };
  void init(const Init& request, int64_t now_ms, Respond<Identified> respond);
  // `client_version`: what the client's request says of its transaction.version.
  void add_partitions(const std::string& id, ProducerIdentity producer,
                      const std::set<TransactionPlace>& partitions, int16_t client_version,
                      int64_t now_ms, Respond<ErrorCode> respond);
  // NONE when the partition is in the producer's transaction.
  ErrorCode verify(const std::string& id, ProducerIdentity producer,
                   const TransactionPlace& partition) const;
  struct End {
    std::string id;
    ProducerIdentity producer;
    bool commits = false;
    int16_t client_version = 0;
  };
  void end(const End& request, int64_t now_ms, Respond<Identified> respond);
  // TRANSACTIONAL_ID_NOT_FOUND, INVALID_REQUEST for an empty id.
  protocol::DescribeTransactionsResponse::TransactionState describe(const std::string& id) const;
  const std::map<std::string, Transaction>& transactions() const { return transactions_; }

  void replay(const CoordinatorRecord& record, RecordPlace place, int64_t now_ms) override;
  void loaded(int64_t now_ms) override;
  void unloaded() override { alive_.reset(); }
  void tick(int64_t now_ms) override;
  std::optional<int64_t> next_deadline() const override;

 private:
  using Stored = std::function<void(ErrorCode)>;

  const Transaction* find(const std::string& id) const;
  // Writes what a transaction is to be; nobody else may change it until it is committed.
  void store(const std::string& id, Transaction next, Stored stored);
  void with_new_id(const std::string& id, std::shared_ptr<Respond<Identified>> respond,
                   std::function<void(int64_t)> then);
  void init_known(const Init& request, Transaction transaction, int64_t now_ms,
                  std::shared_ptr<Respond<Identified>> respond);
  void begin_again(const Init& request, Transaction next, int64_t now_ms,
                   std::shared_ptr<Respond<Identified>> respond);
  std::optional<Identified> judge_end_v1(const End& request, const Transaction& transaction) const;
  std::optional<Identified> judge_end_v2(const End& request, const Transaction& transaction) const;
  void prepare_end(const std::string& id, bool commits, int16_t version, bool fences,
                   int64_t now_ms, Respond<Identified> respond);
  void on_prepared(const std::string& id);
  void complete(const std::string& id);
  void abort_timed_out(int64_t now_ms);
  void expire(int64_t now_ms);

  RecordSink& sink_;
  const TransactionConfig& config_;
  TransactionOutput& output_;
  std::map<std::string, Transaction> transactions_;
  std::set<std::string> pending_;  // a change of theirs is being written
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::set<std::string> to_complete_;  // their markers are written, but not that they are
  int64_t now_ms_ = 0;
  int64_t next_abort_check_ms_ = INT64_MAX;
  int64_t next_expiry_check_ms_ = INT64_MAX;
};

}  // namespace klamm::broker
