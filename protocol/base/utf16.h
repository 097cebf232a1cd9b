#pragma once
// Text as Java sees it, for hashes that must come out as they do there.
#include <cstdint>
#include <string_view>

namespace klamm::protocol {

// Calls `use` with each UTF-16 unit of a UTF-8 text. Malformed text gives some units, never more
// than it has bytes.
template <class Use>
void for_each_utf16_unit(std::string_view utf8, const Use& use) {
  for (size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<uint8_t>(utf8[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t point = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (size_t k = 1; k < length && i + k < utf8.size(); ++k) {
      point = point << 6 | (static_cast<uint8_t>(utf8[i + k]) & 0x3F);
    }
    if (point >= 0x10000) {
      use(static_cast<uint16_t>(0xD800 + ((point - 0x10000) >> 10)));
      use(static_cast<uint16_t>(0xDC00 + ((point - 0x10000) & 0x3FF)));
    } else {
      use(static_cast<uint16_t>(point));
    }
    i += length;
  }
}

}  // namespace klamm::protocol
