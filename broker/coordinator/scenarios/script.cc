#include "broker/coordinator/scenarios/script.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace klamm::broker::scenarios {

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, by);) {
    if (!part.empty()) {
      parts.push_back(part);
    }
  }
  return parts;
}

Event::Event(const std::string& line) {
  for (const auto& word : split(line.substr(0, line.find('#')), ' ')) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      words.push_back(word);
    } else {
      options[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
}

std::string Event::option(const std::string& key, const std::string& otherwise) const {
  const auto found = options.find(key);
  return found == options.end() ? otherwise : found->second;
}

Tasks parse_places(const std::string& text) {
  Tasks places;
  for (const auto& each : split(text, ';')) {
    const auto colon = each.find(':');
    for (const auto& partition : colon == std::string::npos ? std::vector<std::string>()
                                                            : split(each.substr(colon + 1), ',')) {
      places[each.substr(0, colon)].insert(std::stoi(partition));
    }
  }
  return places;
}

namespace {

template <class Places, class TextOf>
std::string joined(const Places& places, TextOf text_of_one) {
  std::string text;
  for (const auto& [name, partitions] : places) {
    text += (text.empty() ? "" : ";") + name;
    char before = ':';
    for (const auto& each : partitions) {
      text += before + text_of_one(each);
      before = ',';
    }
  }
  return text.empty() ? "-" : text;
}

struct Step {
  std::vector<std::string> head;  // comments, blank lines and the event
  std::vector<std::string> expected;
  std::vector<std::string> actual;
};

std::vector<Step> read(const std::filesystem::path& path) {
  std::vector<Step> steps(1);
  std::ifstream file(path);
  REQUIRE(file);
  for (std::string line; std::getline(file, line);) {
    const bool is_expected = line.starts_with("  ");
    if (is_expected) {
      steps.back().expected.push_back(line.substr(2));
      continue;
    }
    if (!steps.back().head.empty() && !Event(steps.back().head.back()).words.empty()) {
      steps.emplace_back();
    }
    steps.back().head.push_back(line);
  }
  return steps;
}

void write(const std::filesystem::path& path, const std::vector<Step>& steps) {
  std::ofstream file(path);
  for (const Step& step : steps) {
    for (const auto& line : step.head) {
      file << line << "\n";
    }
    for (const auto& line : step.actual) {
      file << "  " << line << "\n";
    }
  }
}

}  // namespace

std::string text_of(const Tasks& places) {
  return joined(places, [](int32_t partition) { return std::to_string(partition); });
}
std::string text_of(const TaskEpochs& places) {
  return joined(places, [](const auto& each) {
    return std::to_string(each.first) + "@" + std::to_string(each.second);
  });
}

std::vector<std::string> outcome_of(
    std::span<const CoordinatorRecord> records,
    const std::function<std::string(const CoordinatorRecord&)>& text,
    const std::vector<std::string>& said) {
  std::vector<std::string> lines;
  for (const auto& record : records) {
    lines.push_back("+ " + text(record));
  }
  lines.insert(lines.end(), said.begin(), said.end());
  return lines;
}

void run_all(const std::string& folder, const std::function<Play()>& begin) {
  const bool writes = std::getenv("KLAMM_SCENARIOS_WRITE") != nullptr;
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(KLAMM_SCENARIOS) / folder)) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  REQUIRE_FALSE(files.empty());
  for (const auto& path : files) {
    auto steps = read(path);
    const Play play = begin();
    for (Step& step : steps) {
      const Event event(step.head.empty() ? "" : step.head.back());
      if (event.words.empty()) {
        continue;
      }
      step.actual = play(event);
      INFO(path.filename().string() << ": " << step.head.back());
      if (!writes) {
        CHECK(step.actual == step.expected);  // NOLINT(bugprone-chained-comparison): Catch2's way
      }
    }
    if (writes) {
      write(path, steps);
    }
  }
}

}  // namespace klamm::broker::scenarios
