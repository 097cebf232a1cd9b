#include "protocol/generator/model.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

namespace klamm::generator {
namespace {

using nlohmann::json;
constexpr int kOpenEnd = 32767;
const std::set<std::string> kPrimitives = {"bool",   "int8",   "int16", "uint16",
                                           "int32",  "uint32", "int64", "float64",
                                           "string", "uuid",   "bytes", "records"};
// Member names that C++ keeps for itself.
const std::set<std::string> kReserved = {"operator", "default", "register", "namespace",
                                         "public",   "private", "delete"};

Range parse_range(const std::string& text) {
  if (text == "none") {
    return {};
  }
  const int from = std::stoi(text);
  if (text.back() == '+') {
    return {from, kOpenEnd};
  }
  const size_t dash = text.find('-');
  return {from, dash == std::string::npos ? from : std::stoi(text.substr(dash + 1))};
}

class MessageLoader {
 public:
  explicit MessageLoader(Message& message) : message_(message) {}

  void load(const json& definition) {
    if (const auto structs = definition.find("structs"); structs != definition.end()) {
      for (const json& common : *structs) {
        commons_[common.at("name")] = &common;
      }
    }
    add_struct(message_.name, definition.at("fields"), message_.versions);
  }

 private:
  void add_struct(const std::string& name, const json& fields, const Range& bounds) {
    if (!done_.insert(name).second) {
      return;
    }
    Struct out{name, {}};
    for (const json& field : fields) {
      out.fields.push_back(load_field(field, bounds));
    }
    message_.structs.push_back(std::move(out));
  }

  Field load_field(const json& definition, const Range& bounds) {
    Field field;
    field.name = definition.at("name");
    field.member = snake_case(field.name);
    if (kReserved.contains(field.member)) {
      field.member += "_";
    }
    field.type = definition.at("type");
    if (field.type.starts_with("[]")) {
      field.is_array = true;
      field.type = field.type.substr(2);
    }
    field.is_struct = !kPrimitives.contains(field.type);
    field.versions = parse_range(definition.at("versions")).cut(bounds);
    field.nullable = parse_range(definition.value("nullable", "none")).cut(field.versions);
    field.tagged = parse_range(definition.value("tagged", "none")).cut(field.versions);
    field.tag = definition.value("tag", -1);
    field.never_flexible = definition.value("flexible", "") == "none";
    field.ignorable = definition.value("ignorable", false);
    field.default_value = definition.value("default", "");
    if (field.is_struct) {
      if (definition.contains("fields")) {
        add_struct(field.type, definition.at("fields"), message_.versions);
      } else if (const auto common = commons_.find(field.type); common != commons_.end()) {
        add_struct(field.type, common->second->at("fields"), message_.versions);
      } else {
        throw std::runtime_error(message_.name + ": unknown type " + field.type);
      }
    }
    return field;
  }

  Message& message_;
  std::map<std::string, const json*> commons_;
  std::set<std::string> done_;
};

}  // namespace

std::string snake_case(const std::string& pascal) {
  std::string out;
  for (size_t i = 0; i < pascal.size(); ++i) {
    const bool upper = std::isupper(static_cast<unsigned char>(pascal[i])) != 0;
    if (upper && i > 0) {
      const bool after_lower = std::isupper(static_cast<unsigned char>(pascal[i - 1])) == 0;
      const bool before_lower =
          i + 1 < pascal.size() && std::islower(static_cast<unsigned char>(pascal[i + 1])) != 0;
      if (after_lower || before_lower) {
        out += '_';
      }
    }
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(pascal[i])));
  }
  return out;
}

std::vector<Message> load_schemas(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".json") {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Message> messages;
  for (const fs::path& path : paths) {
    try {
      std::ifstream in(path);
      for (const json& definition : json::parse(in)) {
        Message message;
        message.name = definition.at("name");
        message.file = snake_case(message.name);
        message.folder = fs::relative(path.parent_path(), folder).string();
        message.kind = definition.value("kind", "data");
        message.key = definition.value("key", -1);
        message.versions = parse_range(definition.at("versions"));
        const Range flexible = parse_range(definition.at("flexible"));
        message.flexible_from = flexible.empty() ? kOpenEnd : flexible.from;
        message.unstable_latest = definition.value("unstable", false);
        for (const json& listener : definition.value("listeners", json::array())) {
          message.listeners += listener.get<std::string>() + ",";
        }
        MessageLoader(message).load(definition);
        messages.push_back(std::move(message));
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(path.string() + ": " + error.what());
    }
  }
  return messages;
}

}  // namespace klamm::generator
