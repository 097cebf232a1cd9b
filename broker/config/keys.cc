#include "broker/config/keys.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace klamm::broker {
namespace {

template <class T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::unexpected<Error> invalid(const ConfigKey& key, const std::string& value,
                               const std::string& why) {
  return fail(ErrorCode::kInvalidConfig, "Invalid value " + value + " for configuration " +
                                             std::string(key.name) + ": " + why);
}

bool is_number(ConfigType type) {
  return type == ConfigType::kInt || type == ConfigType::kLong || type == ConfigType::kShort ||
         type == ConfigType::kDouble;
}

// The bound that is passed in "[from,...]" or "[from,...,to]", perhaps with " or -1" behind; empty
// when none is.
std::string range_error(std::string_view valid, double number) {
  if (valid.find("...") == std::string_view::npos) {
    return "";
  }
  if (const size_t alternative = valid.find("] or "); alternative != std::string_view::npos) {
    double other = 0;
    if (parse(valid.substr(alternative + 5), other) && other == number) {
      return "";
    }
    valid = valid.substr(0, alternative + 1);
  }
  const auto parts = split_list(valid.substr(1, valid.size() - 2));
  double bound = 0;
  if (parse(parts.front(), bound) && number < bound) {
    return "Value must be at least " + parts.front();
  }
  if (parts.size() > 2 && parse(parts[2], bound) && number > bound) {
    return "Value must be no more than " + parts[2];
  }
  return "";
}

// "*", or a list of partition:broker.
bool names_replicas(const std::string& value) {
  const auto is_digits = [](std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  const auto parts = split_list(value);
  return value == "*" || std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
           const size_t colon = part.find(':');
           return colon != std::string::npos &&
                  is_digits(std::string_view(part).substr(0, colon)) &&
                  is_digits(std::string_view(part).substr(colon + 1));
         });
}

Result<> check_number(const ConfigKey& key, const std::string& value) {
  double number = 0;
  if (key.type == ConfigType::kDouble) {
    if (!parse(std::string_view(value), number)) {
      return invalid(key, value, "Not a number of type DOUBLE");
    }
  } else {
    int64_t whole = 0;
    const char* name = key.type == ConfigType::kInt     ? "INT"
                       : key.type == ConfigType::kShort ? "SHORT"
                                                        : "LONG";
    const bool fits =
        parse(std::string_view(value), whole) &&
        (key.type != ConfigType::kInt || (whole >= INT32_MIN && whole <= INT32_MAX)) &&
        (key.type != ConfigType::kShort || (whole >= INT16_MIN && whole <= INT16_MAX));
    if (!fits) {
      return invalid(key, value, std::string("Not a number of type ") + name);
    }
    number = static_cast<double>(whole);
  }
  if (const std::string why = range_error(key.valid, number); !why.empty()) {
    return invalid(key, value, why);
  }
  return {};
}

constexpr ConfigKey kKlammKeys[] = {
    // Event loops, each a thread that owns a share of the partitions; 0: what suits the machine.
    {"klamm.shards", ConfigType::kInt, "0", "[0,...,64]", ConfigUpdate::kReadOnly},
};

bool is_choice(std::string_view valid) {
  return valid.starts_with('[') && valid.find("...") == std::string_view::npos &&
         valid.find(':') == std::string_view::npos;
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string part(text.substr(0, comma));
    part.erase(0, part.find_first_not_of(" \t"));
    part.erase(part.find_last_not_of(" \t") + 1);
    if (!part.empty()) {
      parts.push_back(std::move(part));
    }
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return parts;
}

std::span<const ConfigKey> klamm_keys() { return kKlammKeys; }

const ConfigKey* find_key(std::span<const ConfigKey> keys, std::string_view name) {
  const auto found = std::find_if(keys.begin(), keys.end(),
                                  [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

const ConfigKey* find_broker_key(std::string_view name) {
  for (const auto keys : {broker_keys(), throttle_keys(), klamm_keys()}) {
    if (const ConfigKey* const key = find_key(keys, name)) {
      return key;
    }
  }
  return nullptr;
}

Result<> check_value(const ConfigKey& key, const std::string& value) {
  if (is_number(key.type)) {
    return check_number(key, value);
  }
  if (key.type == ConfigType::kBoolean && value != "true" && value != "false") {
    return invalid(key, value, "Expected value to be either true or false");
  }
  if (key.valid.starts_with("[partitionId]:") && !names_replicas(value)) {
    return invalid(key, "[" + value + "]",
                   std::string(key.name) +
                       " must be the literal '*' or a list of replicas in the following format: " +
                       std::string(key.valid));
  }
  if (is_choice(key.valid)) {
    const auto choices = split_list(key.valid.substr(1, key.valid.size() - 2));
    for (const auto& part :
         key.type == ConfigType::kList ? split_list(value) : std::vector<std::string>{value}) {
      if (std::find(choices.begin(), choices.end(), part) == choices.end() &&
          !(part.empty() && value.empty())) {
        return invalid(
            key, part,
            "String must be one of: " + std::string(key.valid.substr(1, key.valid.size() - 2)));
      }
    }
  }
  return {};
}

}  // namespace klamm::broker
