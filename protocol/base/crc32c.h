#pragma once
// CRC-32C (Castagnoli), as in RFC 3720: of a whole range, or continued from the CRC of what came
// before.
#include <cstdint>
#include <span>

namespace klamm::protocol {

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t before = 0);

// The same by tables alone; what crc32c uses on processors without the instruction.
uint32_t crc32c_software(std::span<const uint8_t> bytes, uint32_t before = 0);

}  // namespace klamm::protocol
