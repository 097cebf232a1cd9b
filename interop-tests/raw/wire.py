"""Record batches made by hand, right and wrong ones."""
import struct
import time


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(count=1, magic=2, attributes=0, delta=None, records=None, mend=True, base_offset=0, producer=(-1, -1, -1)):
    if records is None:
        record = bytes([0, 0, 0, 1, 6]) + b"abc" + b"\0"
        records = b"".join(bytes([2 * len(r)]) + r for r in (record[:2] + bytes([2 * i]) + record[3:] for i in range(count)))
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", attributes, count - 1 if delta is None else delta, now, now, *producer, count) + records
    crc = crc32c(tail) if mend else 1
    return struct.pack(">qiibI", base_offset, 9 + len(tail), -1, magic, crc) + tail


def varint(value):
    """Of a number that is not negative, zigzag."""
    value, out = value << 1, b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def record(value):
    """The first of a batch, without a key."""
    body = b"\0\0\0\x01" + varint(len(value)) + value + b"\0"
    return varint(len(body)) + body


def lz4_frame(content, flags):
    """An LZ4 frame whose one block is stored as it is. Flags 0x60: independent blocks, 0x40: dependent ones."""
    def xxh32(data):  # of less than 16 bytes, none of them in fours
        value = 374761393 + len(data)
        for byte in data:
            value = (value + byte * 374761393) & 0xFFFFFFFF
            value = ((value << 11 | value >> 21) * 2654435761) & 0xFFFFFFFF
        value = ((value ^ value >> 15) * 2246822519) & 0xFFFFFFFF
        value = ((value ^ value >> 13) * 3266489917) & 0xFFFFFFFF
        return value ^ value >> 16
    descriptor = bytes([flags, 0x70])
    return (bytes.fromhex("04224d18") + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF])
            + struct.pack("<I", len(content) | 0x80000000) + content + b"\0\0\0\0")
