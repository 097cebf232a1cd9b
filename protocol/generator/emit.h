#pragma once
// Turns one message into the text of its C++ header and source.
#include <string>
#include <vector>

#include "protocol/generator/model.h"

namespace klamm::generator {

std::string emit_header(const Message& message);
std::string emit_source(const Message& message);
// api_key.h: the ApiKey enumeration and the table of API versions.
std::string emit_api_table(const std::vector<Message>& messages);
// all_messages.cc: every message behind one function pointer, for tests, fuzzing and the bench.
std::string emit_registry(const std::vector<Message>& messages);

}  // namespace klamm::generator
