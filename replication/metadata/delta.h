#pragma once
// Records in, image out. This is the only code that changes metadata: a live change and a restart
// go the same way.
#include <span>

#include "protocol/base/bytes.h"
#include "protocol/base/reader.h"
#include "protocol/base/writer.h"
#include "replication/metadata/image.h"

namespace klamm::protocol {
struct ConfigRecord;
}

namespace klamm::replication {

using protocol::Bytes;

// The value of a metadata record as it stands in the log: frame version, type, version, fields.
template <class R>
Bytes to_record(const R& record, int16_t version) {
  protocol::Writer out;
  out.uvarint(1);
  out.uvarint(static_cast<uint64_t>(R::kKey));
  out.uvarint(static_cast<uint64_t>(version));
  record.encode(out, version);
  CHECK_INVARIANT(out.refused() == nullptr);
  return out.flatten();
}

// Of a record that has been applied, and so is known to be sound: its version, and its fields.
inline int16_t record_version(const Bytes& bytes, protocol::Reader* rest = nullptr) {
  protocol::Reader in(bytes);
  (void)in.uvarint();  // frame
  (void)in.uvarint();  // type
  const auto version = static_cast<int16_t>(in.uvarint());
  if (rest != nullptr) {
    *rest = in;
  }
  return version;
}
template <class R>
R from_record(const Bytes& bytes) {
  protocol::Reader in(bytes);
  R record;
  record.decode(in, record_version(bytes, &in));
  CHECK_INVARIANT(in.ok());
  return record;
}

class Delta {
 public:
  explicit Delta(const MetadataImage& base) : image_(base) {}

  // CORRUPT_MESSAGE when the record is malformed or names what does not exist. Types that have no
  // meaning for this node are skipped.
  Result<> apply(const Bytes& record, int64_t offset, int32_t epoch);
  ImagePtr build();

 private:
  Result<> dispatch(uint32_t type, protocol::Reader& in, int16_t version);
  Result<> dispatch_topic(uint32_t type, protocol::Reader& in, int16_t version);
  Result<> fence(int32_t broker, bool fenced);
  void set_config(const protocol::ConfigRecord& record);
  void clear_elr(const std::string& topic);
  TopicsImage& topics();
  ConfigsImage& configs();
  std::shared_ptr<TopicImage> editable(const Uuid& id);

  MetadataImage image_;
  Bytes record_;                         // the one that is being applied
  std::shared_ptr<TopicsImage> topics_;  // copied on the first change
  std::shared_ptr<ConfigsImage> configs_;
  std::unordered_map<Uuid, std::shared_ptr<TopicImage>> edited_;  // copied or made by this delta
};

}  // namespace klamm::replication
