#include "protocol/generator/emit.h"

#include <map>

namespace klamm::generator {
namespace {

const std::map<std::string, std::string> kCppTypes = {
    {"bool", "bool"},       {"int8", "int8_t"},    {"int16", "int16_t"},
    {"uint16", "uint16_t"}, {"int32", "int32_t"},  {"uint32", "uint32_t"},
    {"int64", "int64_t"},   {"float64", "double"}, {"string", "std::string"},
    {"uuid", "Uuid"},       {"bytes", "Bytes"},    {"records", "Payload"}};
const std::map<std::string, int> kFixedSizes = {{"bool", 1},   {"int8", 1},    {"int16", 2},
                                                {"uint16", 2}, {"int32", 4},   {"uint32", 4},
                                                {"int64", 8},  {"float64", 8}, {"uuid", 16}};

bool is_error_code(const Field& field) {
  return !field.is_array && field.type == "int16" && field.name.ends_with("ErrorCode");
}

std::string element_type(const Field& field) {
  if (field.is_struct) {
    return field.type;
  }
  return is_error_code(field) ? "ErrorCode" : kCppTypes.at(field.type);
}

std::string base_type(const Field& field) {
  return field.is_array ? "std::vector<" + element_type(field) + ">" : element_type(field);
}

std::string member_type(const Field& field) {
  return field.can_be_null() ? "std::optional<" + base_type(field) + ">" : base_type(field);
}

// The C++ expression of a field's default; empty when it is the type's own.
std::string default_expression(const Field& field) {
  if (field.can_be_null()) {
    return field.default_null() ? "" : base_type(field) + "{}";
  }
  if (field.is_array || field.is_struct || field.type == "uuid" || field.type == "bytes" ||
      field.type == "records" || field.type == "string") {
    return "";
  }
  if (is_error_code(field)) {
    return field.default_value.empty() ? "ErrorCode::kNone"
                                       : "static_cast<ErrorCode>(" + field.default_value + ")";
  }
  if (field.type == "bool") {
    return field.default_value == "true" ? "true" : "false";
  }
  if (field.type == "float64") {
    return field.default_value.empty() ? "0.0" : field.default_value;
  }
  if (field.default_value == "-2147483648") {
    return "INT32_MIN";
  }
  return field.default_value.empty() ? "0" : field.default_value;
}

class Source {
 public:
  explicit Source(const Message& message) : message_(message) {}

  std::string text;

  void line(const std::string& content) {
    text += content.empty() ? "\n"
                            : std::string(static_cast<size_t>(indent_) * 2, ' ') + content + "\n";
  }
  void open(const std::string& content) {
    line(content + " {");
    ++indent_;
  }
  void close(const std::string& tail = "") {
    --indent_;
    line("}" + tail);
  }

  // "" when the versions hold for the whole message, else a C++ condition.
  std::string condition(const Range& range) const {
    const Range cut = range.cut(message_.versions);
    if (cut.empty()) {
      return "false";
    }
    std::string out;
    if (cut.from > message_.versions.from) {
      out = "wire_version >= " + std::to_string(cut.from);
    }
    if (cut.to < message_.versions.to) {
      out += (out.empty() ? "" : " && ") + std::string("wire_version <= ") + std::to_string(cut.to);
    }
    return out;
  }
  bool ever_flexible() const { return message_.flexible_from <= message_.versions.to; }
  std::string flexible(const Field& field) const {
    return field.never_flexible ? "false" : "flexible";
  }
  void flexible_constant() {
    const std::string value = !ever_flexible() ? "false"
                              : message_.flexible_from <= message_.versions.from
                                  ? "true"
                                  : "wire_version >= " + std::to_string(message_.flexible_from);
    line("[[maybe_unused]] const bool flexible = " + value + ";");
  }
  static Range untagged(const Field& field) {
    return field.tagged.empty() ? field.versions
                                : Range{field.versions.from, field.tagged.from - 1};
  }

  void size_min(const Struct& type, const std::string& scope) {
    open("size_t " + scope + "::size_min([[maybe_unused]] int16_t wire_version)");
    flexible_constant();
    line("size_t size = flexible ? 1 : 0;");
    for (const Field& field : type.fields) {
      const Range range = untagged(field);
      if (condition(range) == "false") {
        continue;
      }
      const std::string when = condition(range);
      line((when.empty() ? "" : "if (" + when + ") ") + "size += " + field_size_min(field) + ";");
    }
    line("return size;");
    close();
  }

  std::string field_size_min(const Field& field) const {
    if (field.is_array) {
      return flexible(field) + " ? 1 : 4";
    }
    if (field.is_struct) {
      return field.can_be_null() ? "1" : field.type + "::size_min(wire_version)";
    }
    if (const auto fixed = kFixedSizes.find(field.type); fixed != kFixedSizes.end()) {
      return std::to_string(fixed->second);
    }
    return flexible(field) + (field.type == "string" ? " ? 1 : 2" : " ? 1 : 4");
  }
  std::string element_size_min(const Field& field) const {
    Field element = field;
    element.is_array = false;
    element.nullable = {};
    return field_size_min(element);
  }

  // ---- decode ----

  std::string read_expression(const Field& field, const std::string& in, bool nullable) const {
    const std::string flex = flexible(field);
    if (field.type == "bool") {
      return in + ".boolean()";
    }
    if (field.type == "float64") {
      return in + ".float64()";
    }
    if (field.type == "uuid") {
      return in + ".uuid()";
    }
    if (field.type == "string" || field.type == "bytes") {
      return in + (nullable ? ".nullable_" : ".") + field.type + "(" + flex + ")";
    }
    if (field.type == "records") {
      return nullable ? "to_payload(" + in + ".nullable_bytes(" + flex + "))"
                      : "Payload(" + in + ".bytes(" + flex + "))";
    }
    const std::string read = in + ".fixed<" + kCppTypes.at(field.type) + ">()";
    return is_error_code(field) ? "static_cast<ErrorCode>(" + read + ")" : read;
  }

  void decode_value(const Field& field, const std::string& in, bool is_tagged) {
    const std::string null_when = condition(field.nullable);  // "" always, "false" never
    if (field.is_array) {
      return decode_array(field, in, null_when);
    }
    if (field.is_struct) {
      return decode_struct(field, in, is_tagged);
    }
    if (field.can_be_null() && !null_when.empty()) {
      open("if (" + null_when + ")");
      line(field.member + " = " + read_expression(field, in, true) + ";");
      --indent_;
      open("} else");
      line(field.member + " = " + read_expression(field, in, false) + ";");
      close();
      return;
    }
    line(field.member + " = " + read_expression(field, in, field.can_be_null()) + ";");
  }

  void decode_struct(const Field& field, const std::string& in, bool is_tagged) {
    if (!field.can_be_null()) {
      return line(field.member + ".decode(" + in + ", wire_version);");
    }
    const std::string absent = is_tagged ? in + ".uvarint() == 0" : in + ".fixed<int8_t>() < 0";
    open("if (" + absent + ")");
    line(field.member + ".reset();");
    --indent_;
    open("} else");
    line(field.member + ".emplace().decode(" + in + ", wire_version);");
    close();
  }

  void decode_array(const Field& field, const std::string& in, const std::string& null_when) {
    open("if (const int64_t count = " + in + ".array_length(" + flexible(field) + ", " +
         element_size_min(field) + "); count < 0)");
    if (!field.can_be_null()) {
      line(in + ".fail();");
    } else {
      line(field.member + ".reset();");
      if (!null_when.empty()) {
        line("if (!(" + null_when + ")) " + in + ".fail();");
      }
    }
    --indent_;
    open("} else");
    line(field.can_be_null() ? "auto& list = " + field.member + ".emplace();"
                             : "auto& list = " + field.member + ";");
    line("list.reserve(static_cast<size_t>(std::min<int64_t>(count, 1024)));");
    open("for (int64_t i = 0; i < count && " + in + ".ok(); ++i)");
    Field element = field;
    element.is_array = false;
    line(field.is_struct ? "list.emplace_back().decode(" + in + ", wire_version);"
                         : "list.push_back(" + read_expression(element, in, false) + ");");
    close();
    close();
  }

  void decode(const Struct& type, const std::string& scope) {
    open("void " + scope + "::decode(Reader& in, [[maybe_unused]] int16_t wire_version)");
    flexible_constant();
    for (const Field& field : type.fields) {
      const Range range = untagged(field);
      const std::string when = condition(range);
      if (when == "false") {
        continue;
      }
      if (!when.empty()) {
        open("if (" + when + ")");
      }
      decode_value(field, "in", false);
      if (!when.empty()) {
        close();
      }
    }
    if (ever_flexible()) {
      decode_tags(type);
    }
    close();
  }

  void decode_tags(const Struct& type) {
    open("if (flexible)");
    line("const uint32_t count = in.uvarint();");
    open("for (uint32_t i = 0; i < count && in.ok(); ++i)");
    line("const uint32_t tag = in.uvarint();");
    line("Bytes value = in.take(in.uvarint());");
    for (const Field& field : type.fields) {
      if (field.tag < 0 || condition(field.tagged) == "false") {
        continue;
      }
      const std::string when = condition(field.tagged);
      open("if (tag == " + std::to_string(field.tag) + (when.empty() ? "" : " && " + when) + ")");
      line("Reader sub(value);");
      decode_value(field, "sub", true);
      line("if (!sub.ok()) in.fail();");
      line("continue;");
      close();
    }
    line("unknown_tags.push_back({tag, std::move(value)});");
    close();
    close();
  }

  // ---- encode ----

  void write_scalar(const Field& field, const std::string& out, const std::string& value) {
    if (field.type == "bool" || field.type == "float64" || field.type == "uuid") {
      line(out + "." + (field.type == "bool" ? "boolean" : field.type) + "(" + value + ");");
    } else if (field.type == "string" || field.type == "bytes") {
      line(out + "." + field.type + "(" + value + ", " + flexible(field) + ");");
    } else if (field.type == "records") {
      line(out + ".payload(" + value + ", " + flexible(field) + ");");
    } else {
      const std::string number =
          is_error_code(field) ? "static_cast<int16_t>(" + value + ")" : value;
      line(out + ".fixed<" + kCppTypes.at(field.type) + ">(" + number + ");");
    }
  }

  void encode_present(const Field& field, const std::string& out, const std::string& value) {
    if (field.is_array) {
      line(out + ".length(" + value + ".size(), " + flexible(field) + ");");
      open("for (const auto& item : " + value + ")");
      Field element = field;
      element.is_array = false;
      field.is_struct ? line("item.encode(" + out + ", wire_version);")
                      : write_scalar(element, out, "item");
      close();
    } else if (field.is_struct) {
      line(value + ".encode(" + out + ", wire_version);");
    } else {
      write_scalar(field, out, value);
    }
  }

  void encode_value(const Field& field, const std::string& out, bool is_tagged) {
    if (!field.can_be_null()) {
      return encode_present(field, out, field.member);
    }
    open("if (" + field.member + ")");
    if (field.is_struct && !field.is_array) {
      line(is_tagged ? out + ".uvarint(1);" : out + ".fixed<int8_t>(1);");
    }
    encode_present(field, out, "(*" + field.member + ")");
    --indent_;
    open("} else");
    if (field.is_struct && !field.is_array) {
      line(is_tagged ? out + ".uvarint(0);" : out + ".fixed<int8_t>(-1);");
    } else {
      line(out + (field.type == "string" && !field.is_array ? ".null_string(" : ".null_length(") +
           flexible(field) + ");");
    }
    close();
  }

  std::string differs_from_default(const Field& field) const {
    if (field.can_be_null()) {
      return field.default_null() ? field.member + ".has_value()"
                                  : "!(" + field.member + ".has_value() && *" + field.member +
                                        " == " + base_type(field) + "{})";
    }
    const std::string expression = default_expression(field);
    return "!(" + field.member +
           " == " + (expression.empty() ? base_type(field) + "{}" : expression) + ")";
  }

  void encode(const Struct& type, const std::string& scope) {
    open("void " + scope + "::encode(Writer& out, [[maybe_unused]] int16_t wire_version) const");
    flexible_constant();
    for (const Field& field : type.fields) {
      const std::string when = condition(untagged(field));
      if (when == "false") {
        continue;
      }
      if (!when.empty()) {
        open("if (" + when + ")");
      }
      encode_value(field, "out", false);
      if (!when.empty()) {
        if (!field.ignorable && field.tagged.empty()) {
          --indent_;
          open("} else if (" + differs_from_default(field) + ")");
          line(refuse(type, field));
        }
        close();
      }
    }
    for (const Field& field : type.fields) {
      const std::string when = condition(field.tagged);
      if (!field.tagged.empty() && !field.ignorable && !when.empty()) {
        open("if (!(" + when + ") && " + differs_from_default(field) + ")");
        line(refuse(type, field));
        close();
      }
    }
    if (ever_flexible()) {
      encode_tags(type);
    }
    close();
  }
  // What cannot be said in this version and must not be left out.
  std::string refuse(const Struct& type, const Field& field) const {
    return "out.refuse(\"" + type.name + "." + field.name + "\");";
  }

  void encode_tags(const Struct& type) {
    std::map<int, const Field*> tags;
    for (const Field& field : type.fields) {
      if (field.tag >= 0 && condition(field.tagged) != "false") {
        tags[field.tag] = &field;
      }
    }
    open("if (flexible)");
    line("size_t count = unknown_tags.size();");
    for (const auto& [tag, field] : tags) {
      const std::string when = condition(field->tagged);
      line("const bool has_" + std::to_string(tag) + " = " +
           (when.empty() ? "" : "(" + when + ") && ") + differs_from_default(*field) + ";");
      line("count += has_" + std::to_string(tag) + " ? 1 : 0;");
    }
    line("out.uvarint(count);");
    line("if (count == 0) return;");
    line("size_t unknown = 0;");
    for (const auto& [tag, field] : tags) {
      open("if (has_" + std::to_string(tag) + ")");
      line("unknown = out.unknown_tags(unknown_tags, unknown, " + std::to_string(tag) + ");");
      line("Writer sub;");
      encode_value(*field, "sub", true);
      line("out.tagged(" + std::to_string(tag) + ", sub);");
      close();
    }
    line("out.unknown_tags(unknown_tags, unknown);");
    close();
  }

 private:
  const Message& message_;
  int indent_ = 0;
};

void emit_struct_body(Source& out, const Struct& type) {
  for (const Field& field : type.fields) {
    const std::string value = default_expression(field);
    out.line(member_type(field) + " " + field.member +
             (value.empty() ? (field.is_array || field.is_struct || field.can_be_null() ||
                                       field.type == "string"
                                   ? ""
                                   : "{}")
                            : " = " + value) +
             ";");
  }
  if (out.ever_flexible()) {
    out.line("UnknownTags unknown_tags;");
  }
  out.line("");
  out.line("void decode(Reader& in, int16_t wire_version);");
  out.line("void encode(Writer& out, int16_t wire_version) const;");
  out.line("static size_t size_min(int16_t wire_version);");
  out.line("bool operator==(const " + type.name + "&) const = default;");
}

}  // namespace

std::string emit_header(const Message& message) {
  Source out(message);
  out.line("#pragma once");
  out.line("#include \"protocol/base/reader.h\"");
  out.line("#include \"protocol/base/writer.h\"");
  out.line("");
  out.line("namespace klamm::protocol {");
  out.line("namespace " + message.file + " {");
  for (size_t i = 0; i + 1 < message.structs.size(); ++i) {
    out.line("");
    out.open("struct " + message.structs[i].name);
    emit_struct_body(out, message.structs[i]);
    out.close(";");
  }
  out.line("");
  out.line("}  // namespace " + message.file);
  out.line("");
  out.open("struct " + message.name);
  out.line("static constexpr const char* kName = \"" + message.name + "\";");
  out.line("static constexpr int16_t kKey = " + std::to_string(message.key) + ";");
  out.line("static constexpr int16_t kVersionMin = " + std::to_string(message.versions.from) + ";");
  out.line("static constexpr int16_t kVersionMax = " + std::to_string(message.versions.to) + ";");
  out.line("static constexpr int16_t kFlexibleFrom = " + std::to_string(message.flexible_from) +
           ";");
  for (size_t i = 0; i + 1 < message.structs.size(); ++i) {
    out.line("using " + message.structs[i].name + " = " + message.file +
             "::" + message.structs[i].name + ";");
  }
  out.line("");
  emit_struct_body(out, message.structs.back());
  out.close(";");
  out.line("");
  out.line("}  // namespace klamm::protocol");
  return out.text;
}

std::string emit_source(const Message& message) {
  Source out(message);
  out.line("#include \"protocol/generated/" + message.file + ".h\"");
  out.line("namespace klamm::protocol {");
  for (size_t i = 0; i < message.structs.size(); ++i) {
    const Struct& type = message.structs[i];
    const bool last = i + 1 == message.structs.size();
    const std::string scope = last ? type.name : message.file + "::" + type.name;
    out.decode(type, scope);
    out.encode(type, scope);
    out.size_min(type, scope);
  }
  out.line("}  // namespace klamm::protocol");
  return out.text;
}

std::string emit_api_table(const std::vector<Message>& messages) {
  std::map<int, const Message*> requests;
  for (const Message& message : messages) {
    if (message.kind == "request") {
      requests[message.key] = &message;
    }
  }
  std::string out =
      "#pragma once\n#include <cstdint>\n#include <string_view>\n\nnamespace klamm::protocol {\n\n";
  const auto short_name = [](const Message& message) {
    return message.name.substr(0, message.name.size() - 7);
  };
  out += "enum class ApiKey : int16_t {\n";
  for (const auto& [key, message] : requests) {
    out += "  k" + short_name(*message) + " = " + std::to_string(key) + ",\n";
  }
  out +=
      "};\n\n// One API of the release: its name and the versions that are stable.\nstruct "
      "ApiFacts {\n  ApiKey key;\n"
      "  std::string_view name;\n  int16_t version_min;\n  int16_t version_max;\n  int16_t "
      "flexible_from;\n"
      "  bool on_broker;\n  bool on_controller;\n};\n\ninline constexpr ApiFacts kApiFacts[] = {\n";
  for (const auto& [key, message] : requests) {
    const int stable = message->versions.to - (message->unstable_latest ? 1 : 0);
    out += "    {ApiKey::k" + short_name(*message) + ", \"" + short_name(*message) + "\", " +
           std::to_string(message->versions.from) + ", " + std::to_string(stable) + ", " +
           std::to_string(message->flexible_from) + ", " +
           (message->listeners.find("broker") != std::string::npos ? "true" : "false") + ", " +
           (message->listeners.find("controller") != std::string::npos ? "true" : "false") + "},\n";
  }
  return out + "};\n\n}  // namespace klamm::protocol\n";
}

std::string emit_registry(const std::vector<Message>& messages) {
  std::string out = "#include \"protocol/all_messages.h\"\n\n";
  for (const Message& message : messages) {
    out += "#include \"protocol/generated/" + message.file + ".h\"\n";
  }
  out +=
      "\nnamespace klamm::protocol {\nnamespace {\n\ntemplate <class M>\nbool recode(Reader& in, "
      "int16_t version, "
      "Writer& out) {\n  M message;\n  message.decode(in, version);\n  if (!in.ok()) return "
      "false;\n"
      "  message.encode(out, version);\n  return out.refused() == nullptr;\n}\n\n}  // "
      "namespace\n\n"
      "const std::vector<AnyMessage>& all_messages() {\n  static const std::vector<AnyMessage> "
      "list = {\n";
  for (const Message& message : messages) {
    out += "      {" + message.name + "::kName, \"" + message.folder + "\", " + message.name +
           "::kVersionMin, " + message.name + "::kVersionMax, &recode<" + message.name + ">},\n";
  }
  return out + "  };\n  return list;\n}\n\n}  // namespace klamm::protocol\n";
}

}  // namespace klamm::generator
