#pragma once
// How coordinators write their records: int16 type (in the key) or version (in the value), then the
// message.
#include <optional>

#include "broker/coordinator/runtime.h"
#include "protocol/base/reader.h"
#include "protocol/base/writer.h"

namespace klamm::broker {

template <class M>
protocol::Bytes prefixed(int16_t prefix, const M& message, int16_t version) {
  protocol::Writer out;
  out.fixed(prefix);
  message.encode(out, version);
  return out.flatten();
}

// nullopt for a version that is not known, or bytes that are malformed.
template <class M>
std::optional<M> read_message(protocol::Reader& in, int16_t version) {
  if (version < M::kVersionMin || version > M::kVersionMax) {
    return std::nullopt;
  }
  M message;
  message.decode(in, version);
  return in.ok() ? std::optional(std::move(message)) : std::nullopt;
}

// Leaves `value` empty for a tombstone. False for a value that cannot be read.
template <class M>
bool read_value(const CoordinatorRecord& record, std::optional<M>& value) {
  if (!record.value) {
    return true;
  }
  protocol::Reader in(*record.value);
  const auto version = in.fixed<int16_t>();
  value = read_message<M>(in, version);
  return value.has_value();
}

}  // namespace klamm::broker
