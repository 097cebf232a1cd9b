"""What the suites of the newer group protocols have in common: topics by id, which each broker gives its own."""
import struct
import time

from peers import compact, eventually, frame, peers, text

TOPIC_IDS = {}  # by peer and name


def compact_list(items):
    return b"\0" if items is None else bytes([len(items) + 1]) + b"".join(items)


def topic_id(peer, name):
    """From Metadata v10; zeros for a topic that the broker has not heard of yet."""
    if (peer, name) not in TOPIC_IDS:
        answer = peer.ask(frame(3, 10, b"\2" + b"\0" * 16 + compact(name) + b"\0" * 5, flexible=True))
        at = answer.index(compact(name)) + len(compact(name))
        if answer[at:at + 16] == bytes(16):
            return bytes(16)
        TOPIC_IDS[peer, name] = answer[at:at + 16]
    return TOPIC_IDS[peer, name]


def named(peer, value):
    """A value with the peer's topic ids replaced by names."""
    if isinstance(value, bytes):
        for (owner, name), id in TOPIC_IDS.items():
            if owner is peer:
                value = value.replace(id, name.encode())
        return value
    if isinstance(value, dict):
        return {named(peer, key): named(peer, each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(named(peer, each) for each in value)
    return value


def each_with_ids(what, make, read, finish=lambda answer: answer):
    """Requests and answers that differ by topic ids alone; the answer."""
    kafka, klamm = (finish(named(peer, read(peer.ask(make(peer))))) for peer in peers())
    assert kafka == klamm, f"{what}: klamm {klamm}, Kafka {kafka}"
    return klamm


def create_topic(name, partitions):
    for peer in peers():
        peer.ask(frame(19, 2, struct.pack(">i", 1) + text(name) + struct.pack(">ihiii?", partitions, 1, 0, 0, 30000, False)))
        eventually(lambda p=peer: topic_id(p, name) != bytes(16), what=f"topic {name}")
    let_coordinators_hear()


def let_coordinators_hear():
    time.sleep(0.5)  # Kafka's hears of topics after Metadata does, and has no other way to tell


class Reader:
    """Takes an answer of a flexible version apart."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def bytes(self, size):
        self.at += size
        return self.data[self.at - size:self.at]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def count(self):
        return max(self.uvarint() - 1, 0)

    def compact(self):
        """A compact string or bytes; None for null."""
        size = self.uvarint()
        return None if size == 0 else self.bytes(size - 1)
