#include "broker/sim/readers.h"

#include <algorithm>

#include "broker/sim/clients.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/offset_commit_request.h"
#include "protocol/generated/offset_commit_response.h"
#include "protocol/generated/offset_fetch_request.h"
#include "protocol/generated/offset_fetch_response.h"

namespace klamm::broker::sim {

using namespace protocol;

namespace {

constexpr int64_t kRetryMs = 40;
constexpr const char* kGroup = "g";
constexpr int8_t kGroupKey = 0;
constexpr int8_t kReadUncommitted = 0;

}  // namespace

Readers::Readers(SimCluster& cluster, std::string topic, int32_t partitions)
    : cluster_(cluster), topic_(std::move(topic)) {
  for (int32_t i = 0; i < partitions; ++i) {
    readers_.push_back({.partition = i});
  }
}

void Readers::start(const Uuid& topic_id) {
  topic_id_ = topic_id;
  for (Reader& reader : readers_) {
    fetch(reader);
    commit(reader);
  }
}

bool Readers::is_idle() const {
  return std::none_of(readers_.begin(), readers_.end(),
                      [](const Reader& reader) { return reader.fetching || reader.committing; });
}

size_t Readers::records_read() const {
  size_t count = 0;
  for (const Reader& reader : readers_) {
    count += reader.seen.size();
  }
  return count;
}

void Readers::fetch(Reader& reader) {
  reader.fetching = !stopping_;
  if (stopping_) {
    return;
  }
  cluster_.ask<FetchResponse>(
      leader_of(cluster_, topic_, reader.partition, reader.guess),
      fetch_of(topic_id_, reader.partition, reader.position, kReadUncommitted), kClientTimeoutMs,
      [this, &reader](const Result<FetchResponse>& answer) {
        if (answer && answer->responses.size() == 1) {
          const auto& partition = answer->responses[0].partitions.at(0);
          if (partition.error_code == ErrorCode::kNone && partition.records) {
            take(reader, partition.records->bytes());
          }
        }
        cluster_.after(kRetryMs, [this, &reader] { fetch(reader); });
      });
}

void Readers::take(Reader& reader, const Bytes& records) {
  std::span<const uint8_t> left = records.span();
  for (auto batch = BatchView::parse(left); batch; batch = BatchView::parse(left)) {
    left = left.subspan(batch->size());
    each_record(*batch, [&](int64_t offset, const std::string& text) {
      const auto [known, fresh] = reader.seen.emplace(offset, text);
      if (!fresh && known->second != text) {
        wrong_ = "partition " + std::to_string(reader.partition) + " had " + known->second +
                 " at offset " + std::to_string(offset) + ", and then " + text;
      }
      reader.position = std::max(reader.position, offset + 1);
    });
  }
  // A consumer that starts over now and then reads the same again.
  if (cluster_.random().next() % 64 == 0) {
    reader.position = 0;
  }
}

void Readers::commit(Reader& reader) {
  reader.committing = !stopping_;
  if (stopping_) {
    return;
  }
  find_coordinator(cluster_, kGroupKey, kGroup, [this, &reader](size_t node) {
    OffsetCommitRequest request;
    request.group_id = kGroup;
    request.generation_id_or_member_epoch = -1;
    reader.tried = std::max(reader.tried, reader.position);
    const int64_t offset = reader.tried;
    request.topics = {
        {.topic_id = topic_id_,
         .partitions = {{.partition_index = reader.partition, .committed_offset = offset}}}};
    cluster_.ask<OffsetCommitResponse>(
        node, std::move(request), kClientTimeoutMs,
        [this, &reader, offset](const Result<OffsetCommitResponse>& answer) {
          if (answer && answer->topics.at(0).partitions.at(0).error_code == ErrorCode::kNone) {
            reader.committed = offset;
            ++commits_;
          } else if (!answer) {
            reader.unsure.insert(offset);
          }
          cluster_.after(5 * kRetryMs, [this, &reader] { commit(reader); });
        });
  });
}

void Readers::check_commits(std::function<void(std::string)> done) {
  ask_committed(std::move(done), 50);
}

void Readers::ask_committed(std::function<void(std::string)> done, int tries) {
  if (tries == 0) {
    return done("the group's coordinator does not answer");
  }
  find_coordinator(
      cluster_, kGroupKey, kGroup, [this, done = std::move(done), tries](size_t node) mutable {
        OffsetFetchRequest request;
        request.groups = {{.group_id = kGroup}};
        request.groups[0].topics.emplace();
        auto& topic = request.groups[0].topics->emplace_back();
        topic.topic_id = topic_id_;
        for (const Reader& reader : readers_) {
          topic.partition_indexes.push_back(reader.partition);
        }
        cluster_.ask<OffsetFetchResponse>(
            node, std::move(request), kClientTimeoutMs,
            [this, done = std::move(done),
             tries](const Result<OffsetFetchResponse>& answer) mutable {
              if (!answer || answer->groups.at(0).error_code != ErrorCode::kNone) {
                cluster_.after(
                    500, [this, done = std::move(done), tries] { ask_committed(done, tries - 1); });
                return;
              }
              for (const auto& partition : answer->groups[0].topics.at(0).partitions) {
                const Reader& reader = readers_.at(static_cast<size_t>(partition.partition_index));
                const bool is_late = reader.unsure.contains(partition.committed_offset);
                if ((partition.committed_offset < reader.committed && !is_late) ||
                    partition.committed_offset > reader.tried) {
                  return done("partition " + std::to_string(reader.partition) + ": offset " +
                              std::to_string(reader.committed) + " was committed, " +
                              std::to_string(partition.committed_offset) + " is remembered");
                }
              }
              done("");
            });
      });
}

}  // namespace klamm::broker::sim
