// Writes the codec: protocol_generator SCHEMA_FOLDER OUTPUT_FOLDER. Files whose text has not
// changed are left alone.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "protocol/generator/emit.h"

namespace {

void write_if_changed(const std::filesystem::path& path, const std::string& text) {
  std::ifstream in(path);
  std::stringstream old;
  old << in.rdbuf();
  if (in && old.str() == text) {
    return;
  }
  std::ofstream out(path);
  out << text;
  if (!out.flush()) {
    throw std::runtime_error("cannot write " + path.string());
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace klamm::generator;
  if (argc != 3) {
    std::cerr << "usage: protocol_generator SCHEMA_FOLDER OUTPUT_FOLDER\n";
    return 2;
  }
  try {
    const auto messages = load_schemas(argv[1]);
    const std::filesystem::path out = argv[2];
    std::filesystem::create_directories(out);
    // The sources are gathered by the folder of their schemas and split at about this many
    // messages, so that the build has neither hundreds of tiny units nor one huge one.
    constexpr size_t kMessagesPerUnit = 12;
    constexpr size_t kUnits = 24;
    std::vector<std::string> units(kUnits);
    for (size_t i = 0; i < messages.size(); ++i) {
      write_if_changed(out / (messages[i].file + ".h"), emit_header(messages[i]));
      units[std::min(i / kMessagesPerUnit, kUnits - 1)] += emit_source(messages[i]);
    }
    for (size_t i = 0; i < kUnits; ++i) {
      write_if_changed(out / ("messages_" + std::to_string(i) + ".cc"), units[i]);
    }
    write_if_changed(out / "api_key.h", emit_api_table(messages));
    write_if_changed(out / "all_messages.cc", emit_registry(messages));
  } catch (const std::exception& error) {
    std::cerr << "protocol_generator: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
