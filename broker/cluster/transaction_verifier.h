#pragma once
// Asks the coordinator of a transaction whether a partition is part of it, or has it added, before
// the transaction's first records are written there (KIP-890). What is asked for one transaction
// while a request is under way shares the next one, and who asks for a partition that is being
// asked for is answered with it, in order.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "broker/coordinator/transaction/transaction.h"

namespace klamm::broker {

class Broker;

// Whose transaction, and what its coordinator is to do.
struct TransactionToVerify {
  std::string id;
  ProducerIdentity producer;
  bool adds = false;  // the partition, if it is not in the transaction; else that is an error
  auto operator<=>(const TransactionToVerify& other) const {
    return std::tie(id, producer.id, producer.epoch, adds) <=>
           std::tie(other.id, other.producer.id, other.producer.epoch, other.adds);
  }
  bool operator==(const TransactionToVerify&) const = default;
};

// What a producer, or whoever commits offsets for it, is told of the coordinator's verdict.
// `knows_abortable`: its version has TRANSACTION_ABORTABLE; `unreachable`: what makes it try again
// when the coordinator has said nothing, or is busy with the transaction before.
ErrorCode told_to_producer(ErrorCode verdict, bool knows_abortable, bool adds,
                           ErrorCode unreachable);

class TransactionVerifier {
 public:
  using Done = std::move_only_function<void(ErrorCode)>;
  // What the coordinator said of each partition.
  using Verdicts = std::map<TransactionPlace, ErrorCode>;

  explicit TransactionVerifier(Broker& broker) : broker_(broker) {}

  // `done` gets kNone, the coordinator's code, or why it was not reached.
  void ask(const TransactionToVerify& transaction, const TransactionPlace& place, Done done);
  // Whether an answer for this partition is still to come, which others must not overtake.
  bool is_waiting(const TransactionToVerify& transaction, const TransactionPlace& place) const;

 private:
  using Waiting = std::map<TransactionPlace, std::vector<Done>>;
  struct Open {
    Waiting asked;
    Waiting next;
    int64_t asked_ms = 0;  // monotonic; when the first try was
  };

  void send(const TransactionToVerify& transaction);
  void send_again(const TransactionToVerify& transaction);
  void send_here(const TransactionToVerify& transaction, std::vector<TransactionPlace> places);
  void send_there(const TransactionToVerify& transaction,
                  const std::vector<TransactionPlace>& places, int32_t coordinator);
  void refuse(const TransactionToVerify& transaction, ErrorCode code);
  void settle(const TransactionToVerify& transaction, const Verdicts& verdicts);

  Broker& broker_;
  std::map<TransactionToVerify, Open> open_;
};

}  // namespace klamm::broker
