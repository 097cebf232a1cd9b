#pragma once
// Who leads a partition and who is in sync: pure functions from an image to the
// PartitionChangeRecords that the controller writes (KIP-631, eligible leader replicas of KIP-966).
#include <functional>
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
// Whether its unclean.leader.election.enable is true.
bool allows_unclean(const MetadataImage& image, const std::string& topic);

// One partition on its way to a new state. Elects a leader where the old one may not go on.
class PartitionChange {
 public:
  PartitionChange(const MetadataImage& image, const TopicImage& topic, int32_t index,
                  BrokerChanges brokers = {});
  void set_isr(std::vector<int32_t> isr) { isr_ = std::move(isr); }
  // Moves the partition to other replicas (KIP-455): `replicas` holds the ones to come first and
  // those to go behind them. It is done, and `removing` gone, once all of `adding` are in sync.
  // `directory` says where a broker is to keep a new replica.
  void reassign(std::vector<int32_t> replicas, std::vector<int32_t> adding,
                std::vector<int32_t> removing, const std::function<Uuid(int32_t)>& directory);
  void set_recovered() { recovery_ = 0; }
  void set_directories(std::vector<Uuid> directories) { directories_ = std::move(directories); }
  // A clean election only changes a leader that may not stay; a preferred one also gives the lead
  // back to the first replica; an unclean one takes whoever is there when nobody is in sync.
  void prefer_first() { preferred_ = true; }
  void allow_unclean() { unclean_ = true; }
  // nullopt when nothing changes. Once.
  std::optional<Bytes> build();
  // What came of it.
  int32_t leader() const { return leader_; }
  const std::vector<int32_t>& isr() const { return isr_; }
  bool begins_epoch() const { return begins_epoch_; }

 private:
  bool is_eligible(int32_t broker) const;
  bool may_lead(int32_t broker) const;
  size_t min_isr() const;
  void complete_reassignment();
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
  std::vector<int32_t> replicas_;
  std::vector<int32_t> adding_;
  std::vector<int32_t> removing_;
  std::vector<Uuid> directories_;
  int8_t recovery_;
  bool preferred_ = false;
  bool unclean_ = false;
  int32_t leader_ = kNoLeader;
  bool begins_epoch_ = false;
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
