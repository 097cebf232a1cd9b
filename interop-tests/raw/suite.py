"""Bytes that no client sends: each gets Kafka's error or loses its one connection, and others go on."""
import os
import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tap import BOOTSTRAP, equal, eventually, main, name, test  # noqa: E402
from wire import batch, record  # noqa: E402

HOST, PORT = BOOTSTRAP.rsplit(":", 1)
FRAME_MAX = 20_000_000  # socket.request.max.bytes of the runner's broker


def connect():
    s = socket.create_connection((HOST, int(PORT)), 5)
    s.settimeout(10)
    return s


def frame(body):
    return struct.pack(">i", len(body)) + body


def header(key, version, correlation=7, client="raw", flexible=False):
    head = struct.pack(">hhih", key, version, correlation, len(client)) + client.encode()
    return head + (b"\0" if flexible else b"")


def receive(s):
    size = b""
    while len(size) < 4:
        part = s.recv(4 - len(size))
        if not part:
            return None
        size += part
    left = struct.unpack(">i", size)[0]
    body = b""
    while len(body) < left:
        part = s.recv(left - len(body))
        if not part:
            return None
        body += part
    return body


def is_closed(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def is_well(s):
    """An ApiVersions v0 is answered."""
    s.sendall(frame(header(18, 0)))
    answer = receive(s)
    assert answer is not None and struct.unpack(">ih", answer[:6]) == (7, 0), answer


def refused(data):
    """The connection that sends `data` is closed, one beside it goes on."""
    witness, culprit = connect(), connect()
    is_well(witness)
    culprit.sendall(data)
    assert is_closed(culprit), "the connection is still open"
    is_well(witness)
    is_well(connect())


@test
def frame_lengths_out_of_range_close_the_connection():
    for length in (-1, -2147483648, FRAME_MAX + 1, 2147483647):
        refused(struct.pack(">i", length) + b"\0" * 20)


@test
def frames_too_short_for_a_header_close_the_connection():
    refused(frame(b""))
    refused(frame(b"\0\x12"))


@test
def tls_and_http_on_the_plaintext_port_close_the_connection():
    refused(bytes.fromhex("160301020001000001fc0303") + b"\0" * 500)
    refused(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


@test
def unknown_apis_and_versions_close_the_connection():
    refused(frame(header(999, 0)))
    refused(frame(header(-1, 0)))
    refused(frame(header(3, 99)))
    refused(frame(header(0, 2)))


@test
def an_unknown_version_of_api_versions_is_answered_with_version_0():
    s = connect()
    s.sendall(frame(header(18, 99, flexible=True) + b"\x01\x01\x00"))
    answer = receive(s)
    equal(struct.unpack(">ih", answer[:6]), (7, 35), "correlation id and UNSUPPORTED_VERSION")
    equal(answer[6:], struct.pack(">ihhh", 1, 18, 0, 5), "the versions of ApiVersions itself")
    is_well(s)


@test
def truncated_bodies_and_lying_counts_close_the_connection():
    refused(frame(header(3, 1) + struct.pack(">i", 5)))                    # five topics, none there
    refused(frame(header(3, 1) + struct.pack(">i", 2147483647)))           # two billion topics
    refused(frame(header(3, 1) + struct.pack(">ih", 1, 32000) + b"ab"))    # a name longer than the frame
    refused(frame(header(3, 9, flexible=True) + b"\xff\xff\xff\xff\x0f"))  # a varint count of 2^32-1
    refused(frame(header(3, 9, flexible=True) + b"\xff\xff\xff\xff\xff\xff\xff"))  # a varint without end


def produce(topic, batch, acks=1, version=3):
    return frame(header(0, version) + struct.pack(">hhii", -1, acks, 5000, 1) + struct.pack(">h", len(topic)) + topic.encode()
                 + struct.pack(">iii", 1, 0, len(batch)) + batch)


def error_of(answer):
    """Error code and base offset of the first partition of a Produce v3 answer."""
    at = 4 + 4
    length = struct.unpack_from(">h", answer, at)[0]
    at += 2 + length + 4
    _, code, offset = struct.unpack_from(">ihq", answer, at)
    return code, offset


def make_topic():
    topic = name("raw")
    s = connect()

    def there():
        s.sendall(frame(header(3, 1) + struct.pack(">ih", 1, len(topic)) + topic.encode()))
        answer = receive(s)
        at = answer.index(topic.encode()) - 4
        return struct.unpack_from(">h", answer, at)[0] == 0
    eventually(there, what="the topic")

    def led():
        s.sendall(frame(header(2, 1) + struct.pack(">iih", -1, 1, len(topic)) + topic.encode() + struct.pack(">iiq", 1, 0, -1)))
        return struct.unpack_from(">h", receive(s), 4 + 4 + 2 + len(topic) + 4 + 4)[0] == 0
    # Apache Kafka's metadata tell of a leader before it leads.
    eventually(led, what="the leader")
    return topic


@test
def corrupt_batches_get_kafkas_error_codes_and_write_nothing():
    topic = make_topic()
    s = connect()
    cases = [
        (batch(mend=False), 2, "a wrong checksum"),
        (batch(count=3, delta=7), 87, "a delta that does not fit the count"),
        (batch(count=2, records=bytes([0x14, 0, 0, 0, 1, 6]) + b"abc" + b"\0"), 87, "fewer records than said"),
        (batch(base_offset=5), 87, "a base offset of its own"),
        (batch(attributes=0x20), 87, "a control batch"),
        (batch(magic=7), 2, "an unknown magic"),
        (batch(magic=1), 87, "an old magic"),
        (batch() + batch(), 87, "two batches"),
    ]
    for data, code, what in cases:
        s.sendall(produce(topic, data))
        answer = receive(s)
        assert answer is not None, f"{what}: the connection was closed"
        equal(error_of(answer)[0], code, what)
    s.sendall(produce(topic, batch(count=2)))
    equal(error_of(receive(s)), (0, 0), "a good batch after them")


@test
def pipelined_requests_are_answered_in_order():
    topic = make_topic()
    s = connect()
    data = b""
    for i in range(200):
        data += produce(topic, batch()).replace(struct.pack(">i", 7), struct.pack(">i", 1000 + i), 1)
    s.sendall(data)
    for i in range(200):
        answer = receive(s)
        equal(struct.unpack(">i", answer[:4])[0], 1000 + i, "correlation id")
        equal(error_of(answer), (0, i), "offset")


@test
def no_acknowledgement_means_no_answer():
    topic = make_topic()
    s = connect()
    s.sendall(produce(topic, batch(), acks=0))
    is_well(s)


@test
def a_slow_sender_and_one_that_never_reads_disturb_nobody():
    topic = make_topic()
    slow = connect()
    slow.sendall(struct.pack(">i", 1_000_000) + b"\0\x12")
    deaf = connect()
    deaf.setblocking(False)
    request = frame(header(3, 1) + struct.pack(">i", -1))
    sent = 0
    try:
        while sent < 20000:
            deaf.send(request)
            sent += 1
    except BlockingIOError:
        pass
    for _ in range(20):
        s = connect()
        s.sendall(produce(topic, batch()))
        equal(error_of(receive(s))[0], 0, "a produce beside them")


def fetch(topic, offset):
    return frame(header(1, 4) + struct.pack(">iiiib", -1, 0, 1, 50_000_000, 0) + struct.pack(">ih", 1, len(topic)) + topic.encode()
                 + struct.pack(">iiqi", 1, 0, offset, 50_000_000))


@test
def readers_that_break_off_amid_an_answer_disturb_nobody():
    topic = make_topic()
    s = connect()
    large = batch(records=record(b"x" * 300_000))
    for _ in range(20):
        s.sendall(produce(topic, large))
        equal(error_of(receive(s))[0], 0, "a produce")
    for i in range(40):
        rude = connect()
        rude.sendall(fetch(topic, 0) * 10)
        rude.recv(100 + i * 50_000)
        if i % 2:
            rude.shutdown(socket.SHUT_WR)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()
    is_well(s)
    is_well(connect())


@test
def names_that_are_no_topics_are_told_so():
    s = connect()
    for bad in ("..", "a/b", "x" * 250, ""):
        s.sendall(frame(header(3, 1) + struct.pack(">ih", 1, len(bad)) + bad.encode()))
        answer = receive(s)
        topics = answer[-(2 + 2 + len(bad) + 1 + 4):]
        equal(struct.unpack_from(">h", topics)[0], 17, repr(bad))


main()
