#include "replication/metadata/delta.h"

#include "protocol/generated/begin_transaction_record.h"
#include "protocol/generated/broker_registration_change_record.h"
#include "protocol/generated/clear_elr_record.h"
#include "protocol/generated/config_record.h"
#include "protocol/generated/end_transaction_record.h"
#include "protocol/generated/feature_level_record.h"
#include "protocol/generated/fence_broker_record.h"
#include "protocol/generated/no_op_record.h"
#include "protocol/generated/partition_change_record.h"
#include "protocol/generated/partition_record.h"
#include "protocol/generated/producer_ids_record.h"
#include "protocol/generated/register_broker_record.h"
#include "protocol/generated/register_controller_record.h"
#include "protocol/generated/remove_topic_record.h"
#include "protocol/generated/topic_record.h"
#include "protocol/generated/unfence_broker_record.h"
#include "protocol/generated/unregister_broker_record.h"
#include "protocol/generated/unregister_controller_record.h"

namespace klamm::replication {

using namespace protocol;

namespace {

template <class R>
Result<R> decode(Reader& in, int16_t version) {
  R record;
  if (version < R::kVersionMin || version > R::kVersionMax) {
    return fail(ErrorCode::kCorruptMessage,
                std::string(R::kName) + " has a version that this release does not know");
  }
  record.decode(in, version);
  if (!in.ok()) {
    return fail(ErrorCode::kCorruptMessage, std::string(R::kName) + " is malformed");
  }
  return record;
}

std::unexpected<Error> dangling(const char* what) {
  return fail(ErrorCode::kCorruptMessage, std::string("a metadata record names a missing ") + what);
}

BrokerImage to_image(const RegisterBrokerRecord& record) {
  BrokerImage broker;
  broker.id = record.broker_id;
  broker.epoch = record.broker_epoch;
  broker.incarnation = record.incarnation_id;
  broker.rack = record.rack;
  broker.fenced = record.fenced;
  broker.in_controlled_shutdown = record.in_controlled_shutdown;
  broker.directories = record.log_dirs;
  for (const auto& endpoint : record.end_points) {
    broker.endpoints.push_back({endpoint.name, endpoint.host, endpoint.port});
  }
  return broker;
}

ControllerImage to_image(const RegisterControllerRecord& record) {
  ControllerImage controller{.id = record.controller_id, .incarnation = record.incarnation_id};
  for (const auto& endpoint : record.end_points) {
    controller.endpoints.push_back({endpoint.name, endpoint.host, endpoint.port});
  }
  return controller;
}

PartitionImage to_image(const PartitionRecord& record) {
  PartitionImage partition;
  partition.replicas = record.replicas;
  partition.isr = record.isr;
  partition.elr = record.eligible_leader_replicas.value_or(std::vector<int32_t>{});
  partition.last_known_elr = record.last_known_elr.value_or(std::vector<int32_t>{});
  partition.directories = record.directories;
  partition.adding = record.adding_replicas;
  partition.removing = record.removing_replicas;
  partition.leader = record.leader;
  partition.recovery_state = record.leader_recovery_state;
  partition.leader_epoch = record.leader_epoch;
  partition.partition_epoch = record.partition_epoch;
  return partition;
}

void change(PartitionImage& partition, const PartitionChangeRecord& record) {
  const auto take = [](auto& to, const auto& from) {
    if (from) {
      to = *from;
    }
  };
  take(partition.isr, record.isr);
  take(partition.replicas, record.replicas);
  take(partition.directories, record.directories);
  take(partition.elr, record.eligible_leader_replicas);
  take(partition.last_known_elr, record.last_known_elr);
  take(partition.adding, record.adding_replicas);
  take(partition.removing, record.removing_replicas);
  if (record.leader_recovery_state >= 0) {
    partition.recovery_state = record.leader_recovery_state;
  }
  constexpr int32_t kNoLeaderChange = -2;
  if (record.leader != kNoLeaderChange) {
    partition.leader = record.leader;
    ++partition.leader_epoch;
  }
  ++partition.partition_epoch;
}

}  // namespace

TopicsImage& Delta::topics() {
  if (topics_ == nullptr) {
    topics_ = std::make_shared<TopicsImage>(*image_.topics);
  }
  return *topics_;
}

ConfigsImage& Delta::configs() {
  if (configs_ == nullptr) {
    configs_ = std::make_shared<ConfigsImage>(*image_.configs);
  }
  return *configs_;
}

// A copy of the topic that has taken the original's place and may still be changed.
std::shared_ptr<TopicImage> Delta::editable(const Uuid& id) {
  const auto found = topics().by_id.find(id);
  if (found == topics().by_id.end()) {
    return nullptr;
  }
  auto& copy = edited_[id];
  if (copy == nullptr) {
    copy = std::make_shared<TopicImage>(*found->second);
    found->second = copy;
    topics().by_name[copy->name] = copy;
  }
  return copy;
}

Result<> Delta::apply(const Bytes& record, int64_t offset, int32_t epoch) {
  Reader in(record);
  const uint32_t frame = in.uvarint();
  const uint32_t type = in.uvarint();
  const auto version = static_cast<int16_t>(in.uvarint());
  if (!in.ok() || frame > 1) {
    return fail(ErrorCode::kCorruptMessage, "a metadata record has an unknown frame");
  }
  image_.offset = offset;
  image_.epoch = epoch;
  record_ = record;
  return dispatch(type, in, version);
}

Result<> Delta::dispatch(uint32_t type, Reader& in, int16_t version) {
  switch (type) {
    case RegisterBrokerRecord::kKey: {
      TRY(const auto record, decode<RegisterBrokerRecord>(in, version));
      image_.brokers[record.broker_id] = to_image(record);
      image_.brokers[record.broker_id].registration = record_;
      return {};
    }
    case UnregisterBrokerRecord::kKey: {
      TRY(const auto record, decode<UnregisterBrokerRecord>(in, version));
      image_.brokers.erase(record.broker_id);
      return {};
    }
    case FenceBrokerRecord::kKey: {
      TRY(const auto record, decode<FenceBrokerRecord>(in, version));
      return fence(record.id, true);
    }
    case UnfenceBrokerRecord::kKey: {
      TRY(const auto record, decode<UnfenceBrokerRecord>(in, version));
      return fence(record.id, false);
    }
    case BrokerRegistrationChangeRecord::kKey: {
      TRY(const auto record, decode<BrokerRegistrationChangeRecord>(in, version));
      const auto broker = image_.brokers.find(record.broker_id);
      if (broker == image_.brokers.end()) {
        return dangling("broker");
      }
      if (record.fenced != 0) {
        broker->second.fenced = record.fenced > 0;
      }
      if (record.in_controlled_shutdown != 0) {
        broker->second.in_controlled_shutdown = record.in_controlled_shutdown > 0;
      }
      if (!record.log_dirs.empty()) {
        broker->second.directories = record.log_dirs;
      }
      return {};
    }
    case RegisterControllerRecord::kKey: {
      TRY(const auto record, decode<RegisterControllerRecord>(in, version));
      image_.controllers[record.controller_id] = to_image(record);
      image_.controllers[record.controller_id].registration = record_;
      return {};
    }
    case UnregisterControllerRecord::kKey: {
      TRY(const auto record, decode<UnregisterControllerRecord>(in, version));
      image_.controllers.erase(record.controller_id);
      return {};
    }
    case ConfigRecord::kKey: {
      TRY(const auto record, decode<ConfigRecord>(in, version));
      set_config(record);
      return {};
    }
    case FeatureLevelRecord::kKey: {
      TRY(const auto record, decode<FeatureLevelRecord>(in, version));
      image_.features[record.name] = record.feature_level;
      return {};
    }
    case ProducerIdsRecord::kKey: {
      TRY(const auto record, decode<ProducerIdsRecord>(in, version));
      image_.next_producer_id = record.next_producer_id;
      return {};
    }
    default: return dispatch_topic(type, in, version);
  }
}

Result<> Delta::fence(int32_t broker, bool fenced) {
  const auto found = image_.brokers.find(broker);
  if (found == image_.brokers.end()) {
    return dangling("broker");
  }
  found->second.fenced = fenced;
  return {};
}

// A resource without overrides is none.
void Delta::set_config(const ConfigRecord& record) {
  const std::pair resource{static_cast<ConfigResource>(record.resource_type), record.resource_name};
  auto& entries = configs()[resource];
  record.value ? (void)(entries[record.name] = *record.value) : (void)entries.erase(record.name);
  if (entries.empty()) {
    configs().erase(resource);
  }
}

// Of one topic, or with an empty name of all (KIP-966).
void Delta::clear_elr(const std::string& name) {
  std::vector<Uuid> ids;
  for (const auto& [id, topic] : topics().by_id) {
    const bool has_any =
        std::any_of(topic->partitions.begin(), topic->partitions.end(), [](const auto& partition) {
          return !partition.second.elr.empty() || !partition.second.last_known_elr.empty();
        });
    if (has_any && (name.empty() || topic->name == name)) {
      ids.push_back(id);
    }
  }
  for (const Uuid& id : ids) {
    for (auto& [index, partition] : editable(id)->partitions) {
      partition.elr.clear();
      partition.last_known_elr.clear();
    }
  }
}

Result<> Delta::dispatch_topic(uint32_t type, Reader& in, int16_t version) {
  switch (type) {
    case TopicRecord::kKey: {
      TRY(const auto record, decode<TopicRecord>(in, version));
      auto topic = std::make_shared<TopicImage>();
      topic->name = record.name;
      topic->id = record.topic_id;
      topics().by_id[topic->id] = topic;
      topics().by_name[topic->name] = topic;
      edited_[topic->id] = topic;
      return {};
    }
    case RemoveTopicRecord::kKey: {
      TRY(const auto record, decode<RemoveTopicRecord>(in, version));
      const auto found = topics().by_id.find(record.topic_id);
      if (found == topics().by_id.end()) {
        return dangling("topic");
      }
      configs().erase({ConfigResource::kTopic, found->second->name});
      topics().by_name.erase(found->second->name);
      topics().by_id.erase(found);
      edited_.erase(record.topic_id);
      return {};
    }
    case PartitionRecord::kKey: {
      TRY(const auto record, decode<PartitionRecord>(in, version));
      const auto topic = editable(record.topic_id);
      if (topic == nullptr) {
        return dangling("topic");
      }
      topic->partitions[record.partition_id] = to_image(record);
      return {};
    }
    case PartitionChangeRecord::kKey: {
      TRY(const auto record, decode<PartitionChangeRecord>(in, version));
      const auto topic = editable(record.topic_id);
      if (topic == nullptr || !topic->partitions.contains(record.partition_id)) {
        return dangling("partition");
      }
      change(topic->partitions[record.partition_id], record);
      return {};
    }
    case ClearElrRecord::kKey: {
      TRY(const auto record, decode<ClearElrRecord>(in, version));
      clear_elr(record.topic_name);
      return {};
    }
    case NoOpRecord::kKey:
    case BeginTransactionRecord::kKey:
    case EndTransactionRecord::kKey: return {};
    default: {
      auto others = std::make_shared<std::vector<Bytes>>(*image_.others);
      others->push_back(record_);
      image_.others = std::move(others);
      return {};
    }
  }
}

ImagePtr Delta::build() {
  edited_.clear();  // the image holds them from now on
  if (topics_ != nullptr) {
    image_.topics = topics_;
  }
  if (configs_ != nullptr) {
    image_.configs = configs_;
  }
  return std::make_shared<MetadataImage>(image_);
}

}  // namespace klamm::replication
