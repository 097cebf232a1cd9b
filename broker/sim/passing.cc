#include "broker/sim/passing.h"

#include "broker/sim/clients.h"
#include "protocol/generated/create_topics_request.h"
#include "protocol/generated/create_topics_response.h"
#include "protocol/generated/delete_topics_request.h"
#include "protocol/generated/delete_topics_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "protocol/records/builder.h"
#include "replication/metadata/replica_list.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr int64_t kPauseMaxMs = 300;

}  // namespace

void Passing::in_a_while(int64_t max_ms, void (Passing::*next)()) {
  cluster_.after(static_cast<int64_t>(cluster_.random().next() % static_cast<uint64_t>(max_ms)) + 1,
                 [this, next] { (this->*next)(); });
}

// A creation that was not answered may have happened: the next attempt hears of it.
void Passing::create() {
  CreateTopicsRequest request;
  request.timeout_ms = 3'000;
  request.topics = {{.name = name_, .num_partitions = partitions_, .replication_factor = 3}};
  cluster_.ask<CreateTopicsResponse>(any_node(), std::move(request), kClientTimeoutMs,
                                     [this](const Result<CreateTopicsResponse>& answer) {
                                       const auto code = answer ? answer->topics.at(0).error_code
                                                                : ErrorCode::kRequestTimedOut;
                                       if (code == ErrorCode::kNone) {
                                         id_ = answer->topics[0].topic_id;
                                         stayed_ = stopping_;
                                       } else if (code != ErrorCode::kTopicAlreadyExists) {
                                         return in_a_while(kPauseMaxMs, &Passing::create);
                                       }
                                       if (!stayed_) {
                                         in_a_while(kPauseMaxMs, &Passing::write);
                                       }
                                     });
}

// To each partition the topic's id; whether it arrives does not matter.
void Passing::write() {
  if (const auto topic = topic_of(cluster_, name_)) {
    id_ = topic->id;
  }
  const std::string value = id_.to_string();
  for (int32_t partition = 0; partition < partitions_; ++partition) {
    BatchBuilder builder(BatchOptions{});
    builder.add(cluster_.now_ms(), std::nullopt,
                std::span(reinterpret_cast<const uint8_t*>(value.data()), value.size()));
    ProduceRequest request;
    request.acks = 1;
    request.timeout_ms = 3'000;
    request.topic_data = {
        {.topic_id = id_,
         .partition_data = {{.index = partition, .records = Payload(builder.build())}}}};
    cluster_.ask<ProduceResponse>(newest_leader(cluster_, name_, partition).node,
                                  std::move(request), kClientTimeoutMs,
                                  [](const Result<ProduceResponse>&) {});
  }
  in_a_while(kPauseMaxMs, &Passing::remove);
}

// By id: a deletion that comes late is not one of the next topic.
void Passing::remove() {
  DeleteTopicsRequest request;
  request.timeout_ms = 3'000;
  request.topics = {{.name = std::nullopt, .topic_id = id_}};
  cluster_.ask<DeleteTopicsResponse>(
      any_node(), std::move(request), kClientTimeoutMs,
      [this](const Result<DeleteTopicsResponse>& answer) {
        if (answer && answer->responses.at(0).error_code == ErrorCode::kNone) {
          ++deleted_;
        }
        in_a_while(kPauseMaxMs, &Passing::create);
      });
}

std::string Passing::check() {
  for (size_t i = 0; i < cluster_.size(); ++i) {
    const std::string where = "node " + std::to_string(i + 1) + ", topic " + name_ + ": ";
    const auto topic = cluster_.node(i)->image()->topic(name_);
    if (topic == nullptr || topic->id != id_) {
      return where + "it is not the one that was made last";
    }
    for (const auto& [index, image] : topic->partitions) {
      if (image.isr.size() < 3) {
        return where + "not all replicas are in sync";
      }
      if (!replication::contains(image.replicas, static_cast<int32_t>(i + 1))) {
        continue;
      }
      const auto foreign = has_foreign_record(*cluster_.node(i), index);
      if (!foreign || *foreign) {
        return where + (foreign ? "a record of an earlier one" : foreign.error().why);
      }
    }
  }
  return "";
}

Result<bool> Passing::has_foreign_record(Node& node, int32_t partition) {
  TRY(Partition* const replica, node.shard(0).replicas().find_replica({name_, partition}));
  bool has = false;
  TRY_VOID(replica->log().visit(0, [&](const BatchView& batch) {
    each_record(batch,
                [&](int64_t, const std::string& value) { has = has || value != id_.to_string(); });
    return true;
  }));
  return has;
}

}  // namespace klamm::broker::sim
