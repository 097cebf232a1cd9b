"""klamm and Apache Kafka 4.4.0 side by side: the same bytes to both."""
import pathlib
import re
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from broker import Broker  # noqa: E402
from stock_tools import said  # noqa: E402
from tap import equal, eventually, main, test  # noqa: E402,F401


def frame(key, version, body, flexible=False):
    head = struct.pack(">hhih", key, version, 7, 1) + b"c" + (b"\0" if flexible else b"")
    return struct.pack(">i", len(head + body)) + head + body


def text(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def compact(value):
    return b"\0" if value is None else bytes([len(value) + 1]) + value.encode()


class Answer:
    """Takes an answer apart, from a place on."""

    def __init__(self, data, at):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def text(self):
        size = self.take(">h")
        self.at += max(size, 0)
        return None if size < 0 else self.data[self.at - size:self.at].decode()


class Peer:
    more = ""  # configuration of both

    def __init__(self, kind):
        self.broker = Broker(kind, more=self.more)
        self.start()

    def start(self):
        self.broker.start()
        self.socket = socket.create_connection(("127.0.0.1", self.broker.port))
        self.socket.settimeout(20)

    def restart(self):
        self.broker.stop()
        self.start()

    def ask(self, request):
        self.socket.sendall(request)
        size = struct.unpack(">i", self.read(4))[0]
        return self.read(size)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                self.socket = socket.create_connection(("127.0.0.1", self.broker.port))
                raise ConnectionError(f"{self.broker.kind} closed the connection")
            data += part
        return data


PEERS = []


def peers():
    if not PEERS:
        PEERS.extend([Peer("kafka"), Peer("klamm")])
        for peer in PEERS:
            peer.ask(frame(19, 2, struct.pack(">i", 1) + text("d") + struct.pack(">ihiii?", 2, 1, 0, 0, 30000, False)))
            eventually(lambda p=peer: b"\0\0\0\x02" in p.ask(frame(3, 1, struct.pack(">i", 1) + text("d"))))
            # Brings __consumer_offsets into being and waits for its coordinator.
            eventually(lambda p=peer: p.ask(frame(10, 0, text("g")))[4:6] == b"\0\0")
            eventually(lambda p=peer: p.ask(frame(12, 0, text("g") + struct.pack(">i", 1) + text("m")))[4:6] == struct.pack(">h", 25))
    return PEERS


def same(what, request, hide=lambda answer: answer):
    kafka, klamm = peers()
    answers = []
    for peer in (kafka, klamm):
        try:
            answer = hide(peer.ask(request))
            answers.append(answer.hex() if isinstance(answer, bytes) else answer)
        except ConnectionError:
            answers.append("closed")
    kafka, klamm = answers
    if isinstance(kafka, dict) and isinstance(klamm, dict):
        kafka, klamm = ({key: answer.get(key) for key in sorted({*kafka, *klamm}) if kafka.get(key) != klamm.get(key)} for answer in answers)
    equal(klamm, kafka, what)


def records_of(peer, topic, decoder, only):
    files = sorted(pathlib.Path(peer.broker.folder).glob(f"data/{topic}-*/*.log"))
    lines = said("org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", decoder, "--files", ",".join(map(str, files))).splitlines()
    times = re.compile(r"(?i)((?:Timestamp|CreateTime)[a-z]*\"?: ?)\d+|position: \d+|crc: \d+|\"topicId\":\"[^\"]+\"|\"metadataHash\":-?\d+")
    return [times.sub(r"\1", line).replace(str(pathlib.Path(peer.broker.folder)), "") for line in lines if only in line.lower()]


def same_records(*topics, only="offset"):
    """Stops the peers and compares what their coordinators have kept, but for times and topic ids: the dumped lines that have
    the word."""
    for peer in peers():
        peer.broker.stop()
    for topic, decoder in topics:
        kafka, klamm = (records_of(peer, topic, decoder, only) for peer in PEERS)
        assert len(kafka) > 3, kafka
        for theirs, ours in zip(kafka, klamm):
            equal(ours, theirs, topic)
        equal(len(klamm), len(kafka), f"the number of records in {topic}")


def stop_peers():
    for each in PEERS:
        each.broker.kill()
