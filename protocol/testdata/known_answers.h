#pragma once
// Reads known answers: lines of a message's name, a version and hexadecimal bytes ("-" for none),
// as interop-tests/java's Vectors writes them.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "protocol/base/bytes.h"

namespace klamm::protocol {

struct KnownAnswer {
  std::string name;
  int16_t version = 0;
  std::string hex;
  Bytes bytes;
};

// Empty when there is no such file. Throws std::invalid_argument when a line is not of that form.
inline std::vector<KnownAnswer> load_known_answers(const std::string& path) {
  std::vector<KnownAnswer> answers;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    KnownAnswer answer;
    std::istringstream words(line);
    words >> answer.name >> answer.version >> answer.hex;
    if (answer.hex != "-") {
      answer.bytes = Bytes::allocate(answer.hex.size() / 2);
      for (size_t i = 0; i < answer.bytes.size(); ++i) {
        answer.bytes.mutable_data()[i] =
            static_cast<uint8_t>(std::stoi(answer.hex.substr(2 * i, 2), nullptr, 16));
      }
    }
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace klamm::protocol
