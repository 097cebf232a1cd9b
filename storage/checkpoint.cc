#include "storage/checkpoint.h"

#include <algorithm>
#include <charconv>

namespace klamm::storage {
namespace {

std::unexpected<Error> malformed(const char* what) {
  return fail(ErrorCode::kCorruptMessage, std::string(what) + " is malformed");
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = line.find(' ');
    words.push_back(line.substr(0, end));
    line = end == std::string_view::npos ? std::string_view() : line.substr(end + 1);
  }
  return words;
}

// The lines behind the version (0) and the count, once both are right.
Result<std::vector<std::string_view>> checkpoint_lines(std::string_view text, const char* what) {
  auto lines = lines_of(text);
  if (lines.empty()) {
    return lines;
  }
  size_t count = 0;
  if (lines.size() < 2 || lines[0] != "0" || !parse_number(lines[1], count) ||
      lines.size() != count + 2) {
    return malformed(what);
  }
  lines.erase(lines.begin(), lines.begin() + 2);
  return lines;
}

}  // namespace

std::string format_offsets(const OffsetCheckpoint& offsets) {
  std::string text = "0\n" + std::to_string(offsets.size()) + "\n";
  for (const auto& [at, offset] : offsets) {
    text += at.topic + " " + std::to_string(at.partition) + " " + std::to_string(offset) + "\n";
  }
  return text;
}

Result<OffsetCheckpoint> parse_offsets(std::string_view text) {
  TRY(const auto lines, checkpoint_lines(text, "an offset checkpoint"));
  OffsetCheckpoint offsets;
  for (const auto line : lines) {
    const auto words = words_of(line);
    TopicPartition at;
    int64_t offset = 0;
    if (words.size() != 3 || !parse_number(words[1], at.partition) ||
        !parse_number(words[2], offset)) {
      return malformed("an offset checkpoint");
    }
    at.topic = words[0];
    offsets[at] = offset;
  }
  return offsets;
}

bool LeaderEpochs::assign(int32_t epoch, int64_t offset) {
  if (epoch < 0 || (!epochs_.empty() && epoch <= epochs_.back().epoch)) {
    return false;
  }
  // An epoch that wrote nothing leaves no entry.
  while (!epochs_.empty() && epochs_.back().start_offset >= offset) {
    epochs_.pop_back();
  }
  epochs_.push_back({epoch, offset});
  return true;
}

EpochStart LeaderEpochs::end_of(int32_t epoch, int64_t log_end) const {
  if (epochs_.empty() || epoch < 0 || epoch > latest()) {
    return {-1, -1};
  }
  if (epoch == latest()) {
    return {epoch, log_end};
  }
  const auto above =
      std::upper_bound(epochs_.begin(), epochs_.end(), epoch,
                       [](int32_t e, const EpochStart& entry) { return e < entry.epoch; });
  if (above == epochs_.begin()) {
    return {epoch, above->start_offset};
  }
  return {std::prev(above)->epoch, above->start_offset};
}

int32_t LeaderEpochs::epoch_at(int64_t offset) const {
  int32_t epoch = -1;
  for (const EpochStart& entry : epochs_) {
    if (entry.start_offset > offset) {
      break;
    }
    epoch = entry.epoch;
  }
  return epoch;
}

void LeaderEpochs::truncate_from_end(int64_t end_offset) {
  while (!epochs_.empty() && epochs_.back().start_offset >= end_offset) {
    epochs_.pop_back();
  }
}

void LeaderEpochs::truncate_from_start(int64_t start_offset) {
  const auto above = std::upper_bound(
      epochs_.begin(), epochs_.end(), start_offset,
      [](int64_t offset, const EpochStart& entry) { return offset < entry.start_offset; });
  if (above == epochs_.begin()) {
    return;
  }
  // The epoch that the start offset lies in stays, cut to start there.
  epochs_.erase(epochs_.begin(), std::prev(above));
  epochs_.front().start_offset = std::max(epochs_.front().start_offset, start_offset);
}

std::string LeaderEpochs::to_text() const {
  std::string text = "0\n" + std::to_string(epochs_.size()) + "\n";
  for (const EpochStart& entry : epochs_) {
    text += std::to_string(entry.epoch) + " " + std::to_string(entry.start_offset) + "\n";
  }
  return text;
}

Result<LeaderEpochs> LeaderEpochs::parse(std::string_view text) {
  TRY(const auto lines, checkpoint_lines(text, "leader-epoch-checkpoint"));
  LeaderEpochs epochs;
  for (const auto line : lines) {
    const auto words = words_of(line);
    EpochStart entry{};
    if (words.size() != 2 || !parse_number(words[0], entry.epoch) ||
        !parse_number(words[1], entry.start_offset)) {
      return malformed("leader-epoch-checkpoint");
    }
    epochs.epochs_.push_back(entry);
  }
  return epochs;
}

std::string format_partition_metadata(const protocol::Uuid& topic_id) {
  return "version: 0\ntopic_id: " + topic_id.to_string();
}

Result<protocol::Uuid> parse_partition_metadata(std::string_view text) {
  for (const auto line : lines_of(text)) {
    if (line.starts_with("topic_id: ")) {
      if (const auto id = protocol::Uuid::parse(line.substr(10))) {
        return *id;
      }
    }
  }
  return malformed("partition.metadata");
}

Properties parse_properties(std::string_view text) {
  Properties properties;
  std::string logical;
  const auto take = [&] {
    std::string key;
    std::string value;
    std::string* to = &key;
    for (size_t i = 0; i < logical.size(); ++i) {
      char c = logical[i];
      if (c == '\\' && i + 1 < logical.size()) {
        c = logical[++i];
        *to += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
      } else if (to == &key && (c == '=' || c == ':' || c == ' ' || c == '\t')) {
        to = &value;
        const size_t next = logical.find_first_not_of(" \t", i);
        i = next == std::string::npos ? logical.size() : next;
        if (i < logical.size() && (logical[i] == '=' || logical[i] == ':')) {
          const size_t start = logical.find_first_not_of(" \t", i + 1);
          i = start == std::string::npos ? logical.size() : start;
        }
        --i;
      } else {
        *to += c;
      }
    }
    if (!key.empty() || !value.empty()) {
      properties[key] = value;
    }
    logical.clear();
  };
  for (std::string_view line : lines_of(text)) {
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    const size_t start = line.find_first_not_of(" \t\f");
    line = start == std::string_view::npos ? std::string_view() : line.substr(start);
    if (logical.empty() && (line.empty() || line[0] == '#' || line[0] == '!')) {
      continue;
    }
    const size_t last = line.find_last_not_of('\\');
    const size_t slashes = line.size() - (last == std::string_view::npos ? 0 : last + 1);
    logical += line;
    if (slashes % 2 == 1) {
      logical.pop_back();
      continue;
    }
    take();
  }
  take();
  return properties;
}

}  // namespace klamm::storage
