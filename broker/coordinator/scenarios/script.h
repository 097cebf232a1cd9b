#pragma once
// Scripted scenarios: text files with events, each followed by the records and effects that must
// come of it. A line that begins with a word is an event, an indented one is expected; `#` begins a
// comment.
//
//   KLAMM_SCENARIOS_WRITE=1 broker_test "scenarios*"   writes what comes into the files
#include <functional>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "broker/coordinator/group/assignment/assignor.h"
#include "broker/coordinator/group/streams/tasks.h"
#include "broker/coordinator/runtime.h"

namespace klamm::broker::scenarios {

// `word word key=value ...`
struct Event {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  explicit Event(const std::string& line);
  const std::string& word(size_t index) const { return words.at(index); }
  int32_t number(size_t index) const { return std::stoi(words.at(index)); }
  bool has(const std::string& key) const { return options.contains(key); }
  std::string option(const std::string& key, const std::string& otherwise = "") const;
};

std::vector<std::string> split(const std::string& text, char by);
// `a:0,1;b:2` as partitions by name, and back; `-` for none.
Tasks parse_places(const std::string& text);
std::string text_of(const Tasks& places);
std::string text_of(const TaskEpochs& places);

// Runs the script of each file: `begin` gives the one who takes its events and says what comes of
// each, one line for each record or effect.
using Play = std::function<std::vector<std::string>(const Event&)>;
void run_all(const std::string& folder, const std::function<Play()>& begin);

// What a step gives: a line for each record that it wrote, then what was said.
std::vector<std::string> outcome_of(
    std::span<const CoordinatorRecord> records,
    const std::function<std::string(const CoordinatorRecord&)>& text,
    const std::vector<std::string>& said);

// One line for a record of __consumer_offsets or __transaction_state. `topic_name` knows topics by
// their ids.
std::string text_of(const CoordinatorRecord& record,
                    const std::function<std::string(const protocol::Uuid&)>& topic_name);

}  // namespace klamm::broker::scenarios
