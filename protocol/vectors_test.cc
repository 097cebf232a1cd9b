// Known answers: bytes that the reference's own classes wrote for every message and version. The
// file is made by `tools/dev vectors` (interop-tests/java) and named by KLAMM_VECTORS; a small set
// of it is kept in testdata.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>

#include "protocol/all_messages.h"
#include "protocol/testdata/known_answers.h"

using namespace klamm::protocol;

TEST_CASE("bytes written by the reference decode and encode to the same bytes") {
  const char* given = std::getenv("KLAMM_VECTORS");
  const auto answers = load_known_answers(
      given != nullptr ? given : KLAMM_SOURCE_DIR "/protocol/testdata/vectors.txt");
  REQUIRE_FALSE(answers.empty());
  std::map<std::string, const AnyMessage*> by_name;
  for (const AnyMessage& message : all_messages()) {
    by_name[std::string(message.name)] = &message;
  }
  std::set<std::pair<std::string, int>> seen;
  size_t wrong = 0;
  for (const auto& [name, version, hex, input] : answers) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      FAIL_CHECK("no such message: " << name);
      continue;
    }
    seen.insert({name, version});
    Reader in(input);
    Writer out;
    const bool same =
        found->second->recode(in, version, out) && in.remaining() == 0 && out.flatten() == input;
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
