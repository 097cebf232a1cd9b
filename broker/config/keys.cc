#include "broker/config/keys.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace klamm::broker {
namespace {

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) {
      part.remove_prefix(1);
    }
    while (part.ends_with(' ')) {
      part.remove_suffix(1);
    }
    parts.push_back(part);
    if (comma == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(comma + 1);
  }
}

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

// "[from,...]" or "[from,...,to]", perhaps with " or -1" behind.
bool in_range(std::string_view valid, double number) {
  if (valid.find("...") == std::string_view::npos) {
    return true;
  }
  if (const size_t alternative = valid.find("] or "); alternative != std::string_view::npos) {
    double other = 0;
    if (parse(valid.substr(alternative + 5), other) && other == number) {
      return true;
    }
    valid = valid.substr(0, alternative + 1);
  }
  const auto parts = split(valid.substr(1, valid.size() - 2));
  double from = 0;
  double to = 0;
  return (!parse(parts.front(), from) || number >= from) &&
         (parts.size() < 3 || !parse(parts[2], to) || number <= to);
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
  if (!in_range(key.valid, number)) {
    return invalid(key, value, "Value must be in the range " + std::string(key.valid));
  }
  return {};
}

bool is_choice(std::string_view valid) {
  return valid.starts_with('[') && valid.find("...") == std::string_view::npos &&
         valid.find(':') == std::string_view::npos;
}

}  // namespace

const ConfigKey* find_key(std::span<const ConfigKey> keys, std::string_view name) {
  const auto found = std::find_if(keys.begin(), keys.end(),
                                  [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

Result<> check_value(const ConfigKey& key, const std::string& value) {
  if (is_number(key.type)) {
    return check_number(key, value);
  }
  if (key.type == ConfigType::kBoolean && value != "true" && value != "false") {
    return invalid(key, value, "Expected value to be either true or false");
  }
  if (is_choice(key.valid)) {
    const auto choices = split(key.valid.substr(1, key.valid.size() - 2));
    for (const auto part :
         key.type == ConfigType::kList ? split(value) : std::vector<std::string_view>{value}) {
      if (std::find(choices.begin(), choices.end(), part) == choices.end() &&
          !(part.empty() && value.empty())) {
        return invalid(
            key, value,
            "String must be one of: " + std::string(key.valid.substr(1, key.valid.size() - 2)));
      }
    }
  }
  return {};
}

}  // namespace klamm::broker
