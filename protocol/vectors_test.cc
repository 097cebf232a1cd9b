// Known answers: bytes that the reference's own classes wrote for every message and version. The
// file is made by `tools/dev vectors` (interop-tests/java) and named by KLAMM_VECTORS; a small set
// of it is kept in testdata.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "protocol/all_messages.h"

using namespace klamm::protocol;

namespace {

Bytes from_hex(const std::string& text) {
  Bytes bytes = Bytes::allocate(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes.mutable_data()[i] = static_cast<uint8_t>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace

// Each line: message name, version, hexadecimal bytes ("-" for none).
TEST_CASE("bytes written by the reference decode and encode to the same bytes") {
  const char* given = std::getenv("KLAMM_VECTORS");
  std::ifstream file(given != nullptr ? given : KLAMM_SOURCE_DIR "/protocol/testdata/vectors.txt");
  REQUIRE(file.is_open());
  std::map<std::string, const AnyMessage*> by_name;
  for (const AnyMessage& message : all_messages()) {
    by_name[std::string(message.name)] = &message;
  }
  std::string line;
  std::set<std::pair<std::string, int>> seen;
  size_t wrong = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    std::string hex;
    int version = 0;
    words >> name >> version >> hex;
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      FAIL_CHECK("no such message: " << name);
      continue;
    }
    seen.insert({name, version});
    const Bytes input = hex == "-" ? Bytes() : from_hex(hex);
    Reader in(input);
    Writer out;
    const bool same = found->second->recode(in, static_cast<int16_t>(version), out) &&
                      in.remaining() == 0 && out.flatten() == input;
    if (!same && ++wrong <= 20) {
      FAIL_CHECK(name << " version " << version << " differs: " << hex);
    }
  }
  CHECK(wrong == 0);
  size_t expected = 0;
  for (const AnyMessage& message : all_messages()) {
    expected += static_cast<size_t>(message.version_max - message.version_min + 1);
  }
  CHECK(seen.size() == expected);
}
