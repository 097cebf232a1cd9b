#include "broker/sim/workload.h"

#include <algorithm>

#include "broker/sim/clients.h"
#include "protocol/generated/alter_partition_reassignments_request.h"
#include "protocol/generated/alter_partition_reassignments_response.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"
#include "protocol/generated/elect_leaders_request.h"
#include "protocol/generated/elect_leaders_response.h"
#include "protocol/generated/init_producer_id_request.h"
#include "protocol/generated/init_producer_id_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "protocol/records/builder.h"
#include "replication/metadata/replica_list.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr int64_t kRetryMs = 30;
constexpr uint64_t kPlainPauseMaxMs = 60;

}  // namespace

Workload::Workload(SimCluster& cluster, std::string topic, int32_t partitions,
                   std::map<std::string, std::string> config)
    : cluster_(cluster), topic_(std::move(topic)), config_(std::move(config)) {
  for (int32_t i = 0; i < partitions; ++i) {
    producers_.push_back({.partition = i});
    plain_producers_.push_back({.partition = i});
  }
}

bool Workload::create() {
  if (const auto topic = created_ ? nullptr : topic_of(cluster_, topic_)) {
    topic_id_ = topic->id;
    created_ = true;
  }
  if (created_ || creating_) {
    return created_;
  }
  creating_ = true;
  CreateTopicsRequest request;
  request.timeout_ms = 5'000;
  request.topics = {{.name = topic_,
                     .num_partitions = static_cast<int32_t>(producers_.size()),
                     .replication_factor = 3}};
  for (const auto& [name, value] : config_) {
    request.topics[0].configs.push_back({.name = name, .value = value});
  }
  cluster_.ask<CreateTopicsResponse>(
      cluster_.random().next() % cluster_.size(), std::move(request), kClientTimeoutMs,
      [this](const Result<CreateTopicsResponse>&) { creating_ = false; });
  return false;
}

void Workload::start() {
  for (Producer& producer : producers_) {
    go_on(producer);
  }
  for (PlainProducer& producer : plain_producers_) {
    ++producer.open;
    write(producer);
  }
}

std::vector<size_t> Workload::holders() {
  std::vector<size_t> nodes;
  for (size_t i = 0; i < cluster_.size() && nodes.empty(); ++i) {
    const auto* const partition =
        cluster_.is_up(i) ? cluster_.node(i)->image()->partition(topic_, 0) : nullptr;
    for (const int32_t id : partition == nullptr ? std::vector<int32_t>() : partition->replicas) {
      nodes.push_back(static_cast<size_t>(id - 1));
    }
  }
  return nodes;
}

void Workload::reassign() {
  std::vector<int32_t> brokers;
  for (size_t i = 0; i < cluster_.size(); ++i) {
    brokers.insert(brokers.begin() + static_cast<int64_t>(cluster_.random().next() % (i + 1)),
                   static_cast<int32_t>(i + 1));
  }
  brokers.resize(3);
  reassign(static_cast<int32_t>(cluster_.random().next() % producers_.size()), std::move(brokers));
}

std::optional<size_t> Workload::reorder() {
  const auto index = static_cast<int32_t>(cluster_.random().next() % producers_.size());
  for (size_t i = 0; i < cluster_.size(); ++i) {
    const auto* const partition =
        cluster_.is_up(i) ? cluster_.node(i)->image()->partition(topic_, index) : nullptr;
    if (partition != nullptr && partition->adding.empty() && partition->removing.empty()) {
      std::vector<int32_t> brokers = partition->replicas;
      std::rotate(brokers.begin(), brokers.begin() + 1, brokers.end());
      const auto first = static_cast<size_t>(brokers.front() - 1);
      reassign(index, std::move(brokers));
      return first;
    }
  }
  return std::nullopt;
}

void Workload::reassign(int32_t partition, std::vector<int32_t> brokers) {
  AlterPartitionReassignmentsRequest request;
  request.topics = {{.name = topic_, .partitions = {{.partition_index = partition}}}};
  request.topics[0].partitions[0].replicas = std::move(brokers);
  cluster_.ask<AlterPartitionReassignmentsResponse>(
      cluster_.random().next() % cluster_.size(), std::move(request), kClientTimeoutMs,
      [](const Result<AlterPartitionReassignmentsResponse>&) {});
}

void Workload::elect() {
  ElectLeadersRequest request;
  request.topic_partitions.reset();
  cluster_.ask<ElectLeadersResponse>(cluster_.random().next() % cluster_.size(), std::move(request),
                                     kClientTimeoutMs, [](const Result<ElectLeadersResponse>&) {});
}

void Workload::watch() {
  for (size_t i = 0; i < cluster_.size(); ++i) {
    for (const Producer& producer : producers_) {
      const auto* const replica =
          cluster_.is_up(i)
              ? cluster_.node(i)->shard(0).replicas().find_open(topic_id_, producer.partition)
              : nullptr;
      if (replica == nullptr || !replica->is_leader()) {
        continue;
      }
      const int64_t now = replica->high_watermark();
      const auto [reign, fresh] =
          reigns_.try_emplace({producer.partition, replica->leader_epoch()}, Reign{i, now});
      const std::string where = "partition " + std::to_string(producer.partition) + ", epoch " +
                                std::to_string(replica->leader_epoch()) + ": ";
      if (reign->second.node != i) {
        wrong_ = where + "two leaders";
      } else if (now < reign->second.high_watermark) {
        wrong_ = where + "the high watermark went back";
      }
      reign->second.high_watermark = now;
    }
  }
}

bool Workload::is_whole() {
  for (size_t i = 0; i < cluster_.size(); ++i) {
    // Not before the node's present life is registered: until then the ISR is that of its last one.
    const Node* const node = cluster_.node(i);
    const auto self = node == nullptr ? decltype(node->image()->brokers.find(0)){}
                                      : node->image()->brokers.find(node->config().node_id());
    if (node == nullptr || self == node->image()->brokers.end() || self->second.fenced ||
        self->second.epoch != node->broker_epoch()) {
      return false;
    }
    // The group's offsets lie in a topic, too.
    for (const auto& [name, topic] : node->image()->topics->by_name) {
      for (const auto& [index, partition] : topic->partitions) {
        if (partition.isr.size() != partition.replicas.size() || !partition.adding.empty() ||
            !partition.removing.empty()) {
          return false;
        }
      }
    }
  }
  return true;
}

bool Workload::is_idle() const {
  return std::none_of(producers_.begin(), producers_.end(),
                      [](const Producer& producer) { return producer.asking; }) &&
         std::none_of(plain_producers_.begin(), plain_producers_.end(),
                      [](const PlainProducer& producer) { return producer.open > 0; });
}

size_t Workload::acknowledged() const {
  size_t count = 0;
  for (const Producer& producer : producers_) {
    count += producer.acked.size();
  }
  for (const PlainProducer& producer : plain_producers_) {
    count += producer.acked.size();
  }
  return count;
}

void Workload::go_on(Producer& producer) {
  producer.asking = !stopping_;
  if (producer.asking) {
    producer.producer_id < 0 ? get_id(producer) : produce(producer);
  }
}

void Workload::again(Producer& producer) {
  cluster_.after(kRetryMs, [this, &producer] {
    producer.producer_id < 0 ? get_id(producer) : produce(producer);
  });
}

size_t Workload::broker_for(int32_t partition_index, size_t& guess) {
  for (size_t i = 0; i < cluster_.size(); ++i) {
    const size_t index = (guess + i) % cluster_.size();
    if (!cluster_.is_up(index)) {
      continue;
    }
    const auto* const partition = cluster_.node(index)->image()->partition(topic_, partition_index);
    ++guess;  // another one's view next time
    if (partition != nullptr && partition->leader > 0) {
      return static_cast<size_t>(partition->leader - 1);
    }
  }
  return guess % cluster_.size();
}

void Workload::get_id(Producer& producer) {
  InitProducerIdRequest request;
  request.transactional_id.reset();
  request.transaction_timeout_ms = 60'000;
  cluster_.ask<InitProducerIdResponse>(
      broker_for(producer.partition, producer.guess), std::move(request), kClientTimeoutMs,
      [this, &producer](const Result<InitProducerIdResponse>& answer) {
        if (answer && answer->error_code == ErrorCode::kNone) {
          producer.producer_id = answer->producer_id;
        }
        again(producer);
      });
}

// `done` gets the partition's result, or nothing when there is no answer.
template <class Done>
void Workload::send(size_t broker, int32_t partition, int16_t acks, const std::string& value,
                    const BatchOptions& options, Done done) {
  BatchBuilder builder(options);
  builder.add(cluster_.now_ms(), std::nullopt,
              std::span(reinterpret_cast<const uint8_t*>(value.data()), value.size()));
  ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 3'000;
  request.topic_data = {
      {.topic_id = topic_id_,
       .partition_data = {{.index = partition, .records = Payload(builder.build())}}}};
  cluster_.ask<ProduceResponse>(
      broker, std::move(request), kClientTimeoutMs,
      [done = std::move(done)](const Result<ProduceResponse>& answer) {
        done(answer ? &answer->responses.at(0).partition_responses.at(0) : nullptr);
      });
}

void Workload::produce(Producer& producer) {
  send(broker_for(producer.partition, producer.guess), producer.partition, -1,
       std::to_string(producer.value),
       {.producer_id = producer.producer_id,
        .producer_epoch = 0,
        .base_sequence = producer.sequence},
       [this, &producer](const auto* result) {
         result == nullptr ? again(producer)
                           : on_produced(producer, result->base_offset, result->error_code);
       });
}

void Workload::write(PlainProducer& producer) {
  if (stopping_) {
    --producer.open;
    return;
  }
  const bool to_all = producer.sent % 2 == 0;
  const std::string value = "plain-" + std::to_string(producer.sent++);
  ++producer.open;
  send(broker_for(producer.partition, producer.guess), producer.partition,
       static_cast<int16_t>(to_all ? -1 : 1), value, {},
       [&producer, to_all, value](const auto* result) {
         --producer.open;
         if (to_all && result != nullptr && result->error_code == ErrorCode::kNone) {
           producer.acked[value] = result->base_offset;
         }
       });
  cluster_.after(static_cast<int64_t>(cluster_.random().next() % kPlainPauseMaxMs) + 1,
                 [this, &producer] { write(producer); });
}

void Workload::on_produced(Producer& producer, int64_t offset, ErrorCode code) {
  // OUT_OF_ORDER_SEQUENCE_NUMBER among them: a leader that was cut off and does not know of its
  // successor lacks what that one has acknowledged.
  if (code != ErrorCode::kNone) {
    return again(producer);
  }
  producer.acked[producer.value++] = offset;
  ++producer.sequence;
  go_on(producer);
}

Result<std::map<int64_t, std::string>> Workload::read(Node& node, int32_t partition, int64_t end) {
  std::map<int64_t, std::string> values;
  TRY(Partition* const replica, node.shard(0).replicas().find_replica({topic_, partition}));
  TRY_VOID(replica->log().visit(0, [&](const BatchView& batch) {
    each_record(batch, [&](int64_t offset, const std::string& value) {
      if (offset < end) {
        values[offset] = value;
      }
    });
    return batch.next_offset() < end;
  }));
  return values;
}

std::string Workload::check_partition(const Producer& producer, const Readers& readers) {
  const std::string where = "partition " + std::to_string(producer.partition) + ": ";
  std::optional<std::map<int64_t, std::string>> first;
  for (size_t i = 0; i < cluster_.size(); ++i) {
    const auto* const image = cluster_.node(i)->image()->partition(topic_, producer.partition);
    if (image == nullptr || image->leader < 1) {
      return where + "has no leader";
    }
    if (!replication::contains(image->replicas, static_cast<int32_t>(i + 1))) {
      continue;
    }
    const auto leader = cluster_.node(static_cast<size_t>(image->leader - 1))
                            ->shard(0)
                            .replicas()
                            .find_replica({topic_, producer.partition});
    if (!leader) {
      return where + leader.error().why;
    }
    const auto values = read(*cluster_.node(i), producer.partition, (*leader)->high_watermark());
    if (!values) {
      return where + values.error().why;
    }
    if (first && *first != *values) {
      return where + "node " + std::to_string(i + 1) + " has other records than those before (" +
             std::to_string(values->size()) + " and " + std::to_string(first->size()) + ")";
    }
    first = *values;
  }
  for (const auto& [offset, value] : readers.seen(producer.partition)) {
    const auto found = first->find(offset);
    if (found == first->end() || found->second != value) {
      return where + "a consumer has read " + value + " at offset " + std::to_string(offset) +
             ", which is not there";
    }
  }
  std::set<std::string> seen;
  for (const auto& [offset, value] : *first) {
    if (!seen.insert(value).second) {
      return where + "value " + value + " is there twice";
    }
  }
  std::map<std::string, int64_t> acked =
      plain_producers_[static_cast<size_t>(producer.partition)].acked;
  for (const auto& [value, offset] : producer.acked) {
    acked[std::to_string(value)] = offset;
  }
  for (const auto& [value, offset] : acked) {
    const auto found = first->find(offset);
    if (found == first->end() || found->second != value) {
      return where + "acknowledged value " + value + " is not at offset " + std::to_string(offset);
    }
  }
  return "";
}

std::string Workload::describe() {
  std::string text;
  const auto list = [](const std::vector<int32_t>& ids) {
    std::string joined;
    for (const int32_t id : ids) {
      joined += (joined.empty() ? "" : ",") + std::to_string(id);
    }
    return "[" + joined + "]";
  };
  for (size_t i = 0; i < cluster_.size(); ++i) {
    Node* const node = cluster_.node(i);
    for (const Producer& producer : producers_) {
      const auto* const image =
          node == nullptr ? nullptr : node->image()->partition(topic_, producer.partition);
      if (image == nullptr) {
        continue;
      }
      const auto replica = node->shard(0).replicas().find_replica({topic_, producer.partition});
      text += "\n  node " + std::to_string(i + 1) + ", partition " +
              std::to_string(producer.partition) + ": leader " + std::to_string(image->leader) +
              " of epoch " + std::to_string(image->leader_epoch) + ", ISR " + list(image->isr) +
              ", ELR " + list(image->elr) + ", log to " +
              (replica ? std::to_string((*replica)->log().end_offset()) + ", committed to " +
                             std::to_string((*replica)->high_watermark()) + ", ISR here " +
                             list((*replica)->isr())
                       : replica.error().why);
    }
    if (node != nullptr) {
      text += "\n  node " + std::to_string(i + 1) + ": metadata to " +
              std::to_string(node->image()->offset) + ", fenced:";
      for (const auto& [id, broker] : node->image()->brokers) {
        text += broker.fenced ? " " + std::to_string(id) : "";
      }
    }
  }
  return text;
}

std::string Workload::check(const Readers& readers) {
  for (const std::string& wrong : {wrong_, readers.wrong()}) {
    if (!wrong.empty()) {
      return wrong;
    }
  }
  for (const Producer& producer : producers_) {
    if (auto wrong = check_partition(producer, readers); !wrong.empty()) {
      return wrong;
    }
  }
  return "";
}

}  // namespace klamm::broker::sim
