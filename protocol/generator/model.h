#pragma once
// The generator's view of protocol/schemas: messages, their structs and fields, with version ranges
// resolved.
#include <map>
#include <string>
#include <vector>

namespace klamm::generator {

// Versions [from, to]; empty when from > to.
struct Range {
  int from = 0;
  int to = -1;
  bool empty() const { return from > to; }
  bool covers(const Range& other) const {
    return other.empty() || (from <= other.from && to >= other.to);
  }
  Range cut(const Range& other) const {
    return {std::max(from, other.from), std::min(to, other.to)};
  }
};

struct Field {
  std::string name;    // Kafka's name, PascalCase
  std::string member;  // C++ member, snake_case
  std::string type;    // element type for arrays: a primitive's name or a struct's name
  bool is_array = false;
  bool is_struct = false;
  Range versions, nullable, tagged;
  int tag = -1;
  bool never_flexible = false;
  bool ignorable = false;     // an encoder may leave it out where the version has no place for it
  std::string default_value;  // empty: none given
  bool can_be_null() const { return !nullable.empty(); }
  bool default_null() const { return default_value == "null"; }
};

struct Struct {
  std::string name;
  std::vector<Field> fields;
};

struct Message {
  std::string name;    // ProduceRequest
  std::string file;    // stem of the generated files
  std::string folder;  // api, metadata, coordinator/group, ...
  std::string kind;    // request, response, ...
  int key = -1;
  Range versions;
  int flexible_from = 1 << 20;
  bool unstable_latest = false;
  std::string listeners;
  std::vector<Struct> structs;  // in order of dependence; the last one is the message itself
};

// Reads every schema below `folder`. Throws std::runtime_error naming the file when a definition
// makes no sense.
std::vector<Message> load_schemas(const std::string& folder);

std::string snake_case(const std::string& pascal);

}  // namespace klamm::generator
