// The readers of committed records, and what is judged in the end.
#include <algorithm>

#include "broker/sim/clients.h"
#include "broker/sim/transactors.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"
#include "replication/metadata/replica_list.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr const char* kTopic = "x";
constexpr int64_t kRetryMs = 40;
constexpr int8_t kGroupKey = 0;
constexpr int8_t kReadCommitted = 1;

}  // namespace

void Transactors::fetch(Reader& reader) {
  reader.fetching = !stopping_;
  if (stopping_) {
    return;
  }
  cluster_.ask<FetchResponse>(
      leader_of(cluster_, kTopic, reader.partition, reader.guess),
      fetch_of(topic_id_, reader.partition, reader.position, kReadCommitted), kClientTimeoutMs,
      [this, &reader](const Result<FetchResponse>& answer) {
        if (answer && answer->responses.size() == 1) {
          const auto& partition = answer->responses[0].partitions.at(0);
          std::map<int64_t, int64_t> aborted_from;
          if (partition.aborted_transactions) {
            for (const auto& aborted : *partition.aborted_transactions) {
              aborted_from.emplace(aborted.first_offset, aborted.producer_id);
            }
          }
          if (partition.error_code == ErrorCode::kNone && partition.records) {
            take(reader, partition.records->bytes(), std::move(aborted_from));
          }
        }
        cluster_.after(kRetryMs, [this, &reader] { fetch(reader); });
      });
}

// As a consumer does it: an aborted transaction is left out from its first offset to its marker.
void Transactors::take(Reader& reader, const Bytes& records,
                       std::map<int64_t, int64_t> aborted_from) {
  std::set<int64_t> aborted;
  std::span<const uint8_t> left = records.span();
  for (auto batch = BatchView::parse(left); batch; batch = BatchView::parse(left)) {
    left = left.subspan(batch->size());
    while (!aborted_from.empty() && aborted_from.begin()->first <= batch->last_offset()) {
      aborted.insert(aborted_from.begin()->second);
      aborted_from.erase(aborted_from.begin());
    }
    const int64_t end = batch->next_offset();
    if (batch->is_control()) {
      const auto marker = storage::read_end_marker(*batch);
      if (marker && marker->aborts) {
        aborted.erase(batch->producer_id());
      }
    } else if (!aborted.contains(batch->producer_id()) && batch->base_offset() >= reader.position) {
      each_record(*batch, [&](int64_t offset, const std::string& value) {
        reader.seen.emplace(offset, value);
      });
    }
    reader.position = std::max(reader.position, end);
  }
}

// The committed records of a replica. Says what hangs.
std::string Transactors::read_log(size_t node, int32_t partition, Values& values) {
  const auto replica = cluster_.node(node)->shard(0).replicas().find_replica({kTopic, partition});
  if (!replica) {
    return replica.error().why;
  }
  std::map<int64_t, Values> open;  // by producer
  const auto read = (*replica)->log().visit(0, [&](const BatchView& batch) {
    Values& of_producer = open[batch.producer_id()];
    if (const auto marker = storage::read_end_marker(batch); batch.is_control() && marker) {
      if (!marker->aborts) {
        values.merge(of_producer);
      }
      of_producer.clear();
    } else {
      each_record(batch, [&](int64_t offset, const std::string& value) {
        of_producer.emplace(offset, value);
      });
    }
    return true;
  });
  if (!read) {
    return read.error().why;
  }
  for (const auto& [producer_id, left] : open) {
    if (!left.empty()) {
      return left.begin()->second + " is in a transaction that hangs";
    }
  }
  storage::Log& log = (*replica)->log();
  return log.first_unstable_offset(log.end_offset()) == INT64_MAX
             ? ""
             : "what is stable ends before the log does";
}

// What became of its records.
std::string Transactors::tell(const Transaction& transaction,
                              const std::map<std::string, int>& times) {
  std::string text = transaction.outcome == Outcome::kCommitted ? "committed" : "unknown";
  for (const auto& [value, written] : transaction.records) {
    text += ", " + value + " in partition " + std::to_string(written.partition) +
            (written.acked ? " (acknowledged)" : "") + (times.contains(value) ? "" : " lacks");
  }
  return text;
}

std::string Transactors::judge(const Producer& producer,
                               const std::map<std::string, int>& times) const {
  for (const Transaction& transaction : producer.transactions) {
    size_t there = 0;
    for (const auto& [value, written] : transaction.records) {
      const auto found = times.find(value);
      const int count = found == times.end() ? 0 : found->second;
      there += static_cast<size_t>(count);
      if (count > 1) {
        return value + " is committed twice";
      }
      if (count == 1 && transaction.outcome == Outcome::kAborted) {
        return value + " was aborted and is committed";
      }
      if (count == 0 && transaction.outcome == Outcome::kCommitted) {
        return value + " was committed and is not there";
      }
    }
    if (there != 0 && there != transaction.records.size()) {
      return "only a part is there of a transaction: " + tell(transaction, times);
    }
  }
  return "";
}

std::string Transactors::check() {
  std::map<std::string, int> times;
  for (const Reader& reader : readers_) {
    std::optional<Values> first;
    const std::string where = "transactions, partition " + std::to_string(reader.partition) + ": ";
    for (size_t i = 0; i < cluster_.size(); ++i) {
      const auto* const image = cluster_.node(i)->image()->partition(kTopic, reader.partition);
      if (image == nullptr ||
          !replication::contains(image->replicas, static_cast<int32_t>(i + 1))) {
        continue;
      }
      Values values;
      if (const std::string wrong = read_log(i, reader.partition, values); !wrong.empty()) {
        return where + "node " + std::to_string(i + 1) + ": " + wrong;
      }
      if (first && *first != values) {
        return where + "replicas have committed different records";
      }
      first = std::move(values);
    }
    if (!first) {
      return where + "nobody has it";
    }
    for (const auto& [offset, value] : reader.seen) {
      const auto found = first->find(offset);
      if (found == first->end() || found->second != value) {
        return where + "a reader of committed records has seen " + value + " at " +
               std::to_string(offset) + ", which is not committed there";
      }
    }
    for (const auto& [offset, value] : *first) {
      ++times[value];
      committed_values_.insert(value);
    }
  }
  for (const Producer& producer : producers_) {
    if (auto wrong = judge(producer, times); !wrong.empty()) {
      return wrong;
    }
  }
  return "";
}

std::string Transactors::describe() {
  std::string text;
  for (const Producer& producer : producers_) {
    text += "\n  " + producer.id + ": epoch " + std::to_string(producer.identity.epoch) +
            ", life " + std::to_string(producer.lives) + ", " +
            std::to_string(producer.transactions.size()) + " transactions, step " +
            std::to_string(producer.step) + " of " + std::to_string(producer.plan.size()) +
            (producer.closed ? ", closed" : "");
  }
  for (size_t i = 0; i < cluster_.size(); ++i) {
    if (cluster_.node(i) == nullptr) {
      continue;
    }
    cluster_.node(i)->shard(0).transactions().for_each([&](const TransactionShard& shard) {
      for (const auto& [id, transaction] : shard.transactions()) {
        text += "\n  node " + std::to_string(i + 1) + " coordinates " + id + ": " +
                std::string(name_of(transaction.state)) + ", epoch " +
                std::to_string(transaction.epoch);
        for (const auto& [topic, partition] : transaction.partitions) {
          text += ", " + topic + "-" + std::to_string(partition);
        }
      }
    });
  }
  return text;
}

// A group's offset is the number of the last transaction that has committed one.
std::string Transactors::judge_offset(const Producer& producer, int64_t offset) const {
  int64_t least = -1;
  std::set<int64_t> possible = {-1};
  for (size_t i = 0; i < producer.transactions.size(); ++i) {
    const Transaction& transaction = producer.transactions[i];
    const auto number = static_cast<int64_t>(i);
    if (transaction.outcome == Outcome::kCommitted && transaction.offset_acked) {
      least = number;
      possible.insert(number);
    } else if (transaction.outcome == Outcome::kUnknown && transaction.offset_acked) {
      possible.insert(number);
    }
  }
  return offset >= least && possible.contains(offset)
             ? ""
             : "the offset of group " + producer.id + " is " + std::to_string(offset) +
                   ", the last transaction with one was " + std::to_string(least);
}

void Transactors::check_offsets(std::function<void(std::string)> done) {
  ask_offset(0, 50, std::move(done));
}

void Transactors::ask_offset(size_t index, int tries, std::function<void(std::string)> done) {
  if (index == producers_.size()) {
    return done("");
  }
  const Producer& producer = producers_[index];
  if (tries == 0) {
    return done("the offset of group " + producer.id + " does not become stable");
  }
  find_coordinator(
      cluster_, kGroupKey, producer.id,
      [this, &producer, index, tries, done = std::move(done)](size_t node) {
        OffsetFetchRequest request;
        request.require_stable = true;
        request.groups = {{.group_id = producer.id}};
        request.groups[0].topics.emplace();
        request.groups[0].topics->push_back({.topic_id = topic_id_, .partition_indexes = {0}});
        cluster_.ask<OffsetFetchResponse>(
            node, std::move(request), kClientTimeoutMs,
            [this, &producer, index, tries, done](const Result<OffsetFetchResponse>& answer) {
              const auto* const partition =
                  answer && answer->groups.at(0).error_code == ErrorCode::kNone
                      ? &answer->groups[0].topics.at(0).partitions.at(0)
                      : nullptr;
              if (partition == nullptr || partition->error_code != ErrorCode::kNone) {
                cluster_.after(500,
                               [this, index, tries, done] { ask_offset(index, tries - 1, done); });
                return;
              }
              const std::string wrong = judge_offset(producer, partition->committed_offset);
              wrong.empty() ? ask_offset(index + 1, 50, done) : done(wrong);
            });
      });
}

}  // namespace klamm::broker::sim
