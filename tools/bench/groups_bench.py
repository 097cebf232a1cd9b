"""Group coordinators: how soon members have their partitions, how many commits they take, what groups cost. Members are sockets
that say what clients say, when they say it, so that the broker is what is measured."""
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "interop-tests/raw"))
from groups_suite_tools import Reader, compact_list  # noqa: E402
from peers import compact, frame, text  # noqa: E402

PARTITIONS = 200
GROUPS = 10_000


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self):
        size = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(size)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def ask(self, request):
        self.socket.sendall(request)
        return self.read()


class Member(threading.Thread):
    """A member of the consumer protocol until it is told to stop; `partitions` and `epoch` are what it was given last."""

    def __init__(self, port, group, index):
        super().__init__(daemon=True)
        self.client, self.group, self.id = Client(port), group, f"m{index:03}"
        self.partitions, self.epoch, self.stopping = set(), 0, threading.Event()

    def run(self):
        try:
            self.live()
        except OSError:
            if not self.stopping.is_set():
                raise

    def live(self):
        while not self.stopping.is_set():
            owned = [] if not self.partitions else [self.topic_id + compact_list([struct.pack(">i", p) for p in sorted(self.partitions)]) + b"\0"]
            body = compact(self.group) + compact(self.id) + struct.pack(">i", self.epoch) + b"\0\0" + struct.pack(">i", 30000)
            body += compact_list([compact("members")]) + b"\0\0" + compact_list(owned) + b"\0"
            at = Reader(self.client.ask(frame(68, 1, body, flexible=True)), 9)
            code, _, _ = at.take(">h"), at.compact(), at.compact()
            epoch, interval_ms = at.take(">ii")
            if code != 0:
                time.sleep(0.05)  # while the coordinator is made
                continue
            before, self.epoch = set(self.partitions), epoch
            if at.take(">b") == 1:
                self.partitions = set()
                for _ in range(at.count()):
                    self.topic_id = at.bytes(16)
                    self.partitions |= {at.take(">i") for _ in range(at.count())}
                    at.take(">b")
            if self.partitions == before:
                self.stopping.wait(interval_ms / 1000)


def settle(port, count, group):
    """Seconds until `count` members that come at once have all partitions, all in one epoch."""
    members = [Member(port, group, i) for i in range(count)]
    began = time.monotonic()
    for member in members:
        member.start()
    while time.monotonic() < began + 120:
        if sum(len(m.partitions) for m in members) == PARTITIONS and len({m.epoch for m in members}) == 1 and all(m.partitions for m in members):
            break
        time.sleep(0.005)
    took = time.monotonic() - began
    for member in members:
        member.stopping.set()
    for member in members:
        member.client.socket.shutdown(socket.SHUT_RDWR)  # it may wait for others that have gone
        member.join()
        member.client.socket.close()
    return took


def classic(port, bench, note):
    """Milliseconds, the median of 21 groups each, of one thread that moves all members: with threads in this language the client
    would be measured."""
    for i in range(5):
        bench.client("members", port, f"warm-classic{i}", 100)
    for count in (10, 100):
        took = sorted(bench.client("members", port, f"classic{count}-{i}", count)[0] for i in range(21))
        note(f"{count} members to a stable assignment, ms (classic protocol)", took[len(took) // 2] * 1000)


def commit(group, topic, partitions):
    body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">h", -1) + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">i", len(partitions)) + b"".join(struct.pack(">iqi", p, 1, -1) + text("") for p in partitions)
    return frame(8, 7, body)


def commits(port, seconds):
    """Commits a second over 16 connections, a hundred on their way on each."""
    burst = 100
    done = [0] * 16
    until = time.monotonic() + seconds

    def run(index):
        client, request = Client(port), commit(f"commits{index}", "members", [0]) * burst
        while time.monotonic() < until:
            client.socket.sendall(request)
            for _ in range(burst):
                client.read()
            done[index] += burst
    threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def many_groups(port, count):
    """Makes groups of one member each."""
    client = Client(port)
    for first in range(0, count, 100):
        request = b""
        for i in range(first, first + 100):
            body = compact(f"many{i}") + compact("m") + struct.pack(">i", 0) + b"\0\0" + struct.pack(">i", 30000)
            request += frame(68, 1, body + compact_list([compact("members")]) + b"\0\0\1\0", flexible=True)
        client.socket.sendall(request)
        for _ in range(100):
            client.read()


def load_offsets(broker, groups):
    """Milliseconds from the start until the offsets of all groups are told, a thousand each."""
    client = Client(broker.port)
    for i in range(groups):
        client.ask(commit(f"load{i}", "wide", range(1000)))
    client.socket.close()
    broker.stop()
    began = time.monotonic()
    broker.start()
    client, ready = Client(broker.port), 0
    while ready < groups:
        body = compact(f"load{ready}") + compact_list([compact("wide") + compact_list([struct.pack(">i", 999)]) + b"\0"]) + b"\0\0"
        answer = client.ask(frame(9, 7, body, flexible=True))
        if struct.pack(">iq", 999, 1) in answer:
            ready += 1
        else:
            time.sleep(0.002)
    return (time.monotonic() - began) * 1000


def share(broker, bench, quick):
    """Records of 1 KiB a second that one share consumer reads and acknowledges."""
    count = 50_000 if quick else 200_000
    bench.create(broker.port, "shared", 1)
    libs = bench.ROOT / "interop-tests/java/target/libs"
    done = subprocess.run(["java", "-Xmx512m", "-cp", f"{libs.parent}/classes:{libs}/*", "klamm.interop.ShareBench", broker.address, "shared", str(count)],
                          check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def ready(port):
    """Brings the coordinators' topic into being."""
    client = Client(port)
    while client.ask(frame(10, 0, text("g")))[4:6] != b"\0\0":
        time.sleep(0.05)
    client.socket.close()


def measure(kind, bench, brokers, quick, note):
    broker = brokers.Broker(kind)
    broker.start()
    try:
        bench.create(broker.port, "members", PARTITIONS)
        bench.create(broker.port, "wide", 1000)
        ready(broker.port)
        settle(broker.port, 3, "warm-consumer")
        for count in (10, 100):
            note(f"{count} members to a stable assignment, s (consumer protocol)", settle(broker.port, count, f"consumer{count}"))
        classic(broker.port, bench, note)
        commits(broker.port, 2)
        note("offset commits/s (16 connections)", commits(broker.port, 3 if quick else 8))
        note("share consumer, records/s of 1 KiB", share(broker, bench, quick))
        many_groups(broker.port, 1_000 if quick else GROUPS)
        note("memory with 10,000 groups (RSS), MB", bench.rss_mb(broker.pid))
        note("load of 1,000,000 committed offsets, ms", load_offsets(broker, 100 if quick else 1000))
    finally:
        broker.kill()
