// Decodes and encodes again the known answers of protocol/testdata in a loop, one thread.
//   codec_bench FILE SECONDS  ->  "<MB/s> <messages/s>"
// The same loop over the same bytes with the reference's classes is interop-tests/java's
// CodecBench.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "protocol/all_messages.h"
#include "protocol/testdata/known_answers.h"

using namespace klamm::protocol;

namespace {

struct Vector {
  const AnyMessage* message;
  int16_t version;
  Bytes bytes;
};

std::vector<Vector> load(const char* path) {
  std::map<std::string, const AnyMessage*> by_name;
  for (const AnyMessage& message : all_messages()) {
    by_name[std::string(message.name)] = &message;
  }
  std::vector<Vector> vectors;
  for (auto& answer : load_known_answers(path)) {
    const auto found = by_name.find(answer.name);
    if (found != by_name.end() && !answer.bytes.empty()) {
      vectors.push_back({found->second, answer.version, std::move(answer.bytes)});
    }
  }
  return vectors;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  if (argc != 3) {
    std::fprintf(stderr, "codec_bench FILE SECONDS\n");
    return 2;
  }
  const auto vectors = load(argv[1]);
  const auto limit = std::chrono::duration<double>(std::atof(argv[2]));
  double bytes = 0;
  double messages = 0;
  const auto began = Clock::now();
  while (Clock::now() - began < limit) {
    for (const Vector& vector : vectors) {
      Reader in(vector.bytes);
      Writer out;
      if (!vector.message->recode(in, vector.version, out) || out.size() != vector.bytes.size()) {
        std::fprintf(stderr, "%s does not come back\n", std::string(vector.message->name).c_str());
        return 1;
      }
      bytes += static_cast<double>(out.size());
    }
    messages += static_cast<double>(vectors.size());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  std::printf("%.3f %.0f\n", bytes / 1e6 / seconds, messages / seconds);
  return 0;
}
