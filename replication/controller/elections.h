#pragma once
// Who leads a partition and who is in sync: pure functions from an image to the
// PartitionChangeRecords that the controller writes (KIP-631, eligible leader replicas of KIP-966).
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "replication/metadata/delta.h"
#include "replication/metadata/image.h"

namespace klamm::replication {

// Of the PartitionChangeRecords that the controller writes.
inline constexpr int16_t kPartitionChangeVersion = 2;

// Brokers seen differently from the image, because the same batch of records changes them.
struct BrokerChanges {
  std::set<int32_t> gone;  // fenced or stopping: may not lead
  std::set<int32_t> back;  // unfenced: may lead
  std::set<int32_t> lost;  // stopped uncleanly: may lack what they had acknowledged
  std::set<Uuid> offline;  // directories that have failed
};

// min.insync.replicas of a topic: its own, the cluster's, or Kafka's default of 1.
int32_t min_isr_of(const MetadataImage& image, const std::string& topic);

// One partition on its way to a new state. Elects a leader where the old one may not go on.
class PartitionChange {
 public:
  PartitionChange(const MetadataImage& image, const TopicImage& topic, int32_t index,
                  BrokerChanges brokers = {});
  void set_isr(std::vector<int32_t> isr) { isr_ = std::move(isr); }
  void set_recovered() { recovery_ = 0; }
  void set_directories(std::vector<Uuid> directories) { directories_ = std::move(directories); }
  // A clean election only changes a leader that may not stay; a preferred one also gives the lead
  // back to the first replica.
  void prefer_first() { preferred_ = true; }
  // nullopt when nothing changes.
  std::optional<Bytes> build();

 private:
  bool is_eligible(int32_t broker) const;
  bool may_lead(int32_t broker) const;
  void move_to_elr();
  int32_t elect(bool& from_last_known, bool& unclean) const;

  const MetadataImage& image_;
  const TopicImage& topic_;
  int32_t index_;
  const PartitionImage& before_;
  BrokerChanges brokers_;
  bool elr_enabled_;
  std::vector<int32_t> isr_;
  std::vector<int32_t> elr_;
  std::vector<int32_t> last_known_;
  std::optional<std::vector<Uuid>> directories_;
  int8_t recovery_;
  bool preferred_ = false;
};

// The broker is fenced or stops: it leaves the ISRs, and others lead.
std::vector<Bytes> without_broker(const MetadataImage& image, int32_t broker,
                                  const BrokerChanges& changes);
// The broker is back: it leads what nobody else may lead.
std::vector<Bytes> with_broker(const MetadataImage& image, int32_t broker,
                               const BrokerChanges& changes);
// Gives the lead back to first replicas that are in sync again, at most so many at once.
std::vector<Bytes> prefer_first_replicas(const MetadataImage& image, size_t count_max);
// Does the broker lead anything?
bool leads_any(const MetadataImage& image, int32_t broker);

}  // namespace klamm::replication
