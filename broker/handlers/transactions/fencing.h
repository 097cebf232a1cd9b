#pragma once
// How the APIs of transactions tell a client that a later life of its producer has taken over.
#include "protocol/error_code.h"

namespace klamm::broker {

// Versions before PRODUCER_FENCED call it INVALID_PRODUCER_EPOCH.
inline protocol::ErrorCode in_words_of(bool knows_fenced, protocol::ErrorCode error) {
  return error == protocol::ErrorCode::kProducerFenced && !knows_fenced
             ? protocol::ErrorCode::kInvalidProducerEpoch
             : error;
}

}  // namespace klamm::broker
