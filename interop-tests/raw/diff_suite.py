"""The same bytes to klamm and to Apache Kafka 4.4.0: the answers must be equal, byte for byte, where nothing in them
belongs to one cluster alone."""
import struct

from peers import Answer, compact, equal, eventually, frame, main, peers, same, stop_peers, test, text
from wire import batch, lz4_frame


def list_offsets(version, timestamp, topic="d", partition=0, epoch=None):
    body = struct.pack(">i", -1) + (b"\0" if version >= 2 else b"") + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, partition)
    return frame(2, version, body + (struct.pack(">i", epoch if epoch is not None else -1) if version >= 4 else b"") + struct.pack(">q", timestamp))


def list_offsets_flexible(version, timestamp):
    body = struct.pack(">ib", -1, 0) + b"\2" + compact("d") + b"\2" + struct.pack(">iiq", 0, -1, timestamp) + b"\0\0"
    return frame(2, version, body + (struct.pack(">i", 1000) if version >= 10 else b"") + b"\0", flexible=True)


@test
def list_offsets_of_an_empty_partition_and_of_strangers():
    for version in range(1, 6):
        for timestamp in (-1, -2, 0, 10**15):
            same(f"v{version} {timestamp}", list_offsets(version, timestamp))
    for version in (7, 8, 9, 10, 11):
        for timestamp in (-1, -2, -3, -4, -5, -6):
            if timestamp >= {7: -3, 8: -4, 9: -5, 10: -5, 11: -6}[version]:
                same(f"v{version} {timestamp}", list_offsets_flexible(version, timestamp))
    same("no such topic", list_offsets(4, -1, "nope"))
    same("no such partition", list_offsets(4, -1, "d", 9))
    same("an epoch to come", list_offsets(4, -1, "d", 0, 99))


@test
def compressed_batches_that_are_refused():
    def produce(data):
        return frame(0, 3, struct.pack(">hhii", -1, 1, 5000, 1) + text("d") + struct.pack(">iii", 1, 1, len(data)) + data)

    def error_code(answer):
        return answer[4 + 4 + 3 + 4 + 4:][:2]
    record = bytes([18, 0, 0, 0, 1, 6]) + b"abc" + b"\0"
    for codec, name in ((1, "gzip"), (2, "snappy"), (3, "lz4")):
        for what, body in (("garbage", b"\x01\x02\x03\x04" * 8), ("nothing", b"")):
            same(f"{name} of {what}", produce(batch(attributes=codec, records=body)), hide=error_code)
    same("lz4 cut off", produce(batch(attributes=3, records=lz4_frame(record, 0x60)[:-6])), hide=error_code)
    same("lz4 of dependent blocks", produce(batch(attributes=3, records=lz4_frame(record, 0x40))), hide=error_code)
    same("lz4 of independent blocks", produce(batch(attributes=3, records=lz4_frame(record, 0x60))), hide=error_code)
    same("zstd before version 7", produce(batch(attributes=4, records=record)), hide=error_code)
    same("no codec", produce(batch(attributes=5, records=record)), hide=error_code)


@test
def group_requests_of_strangers():
    for version in range(0, 4):
        same(f"Heartbeat v{version}", frame(12, version, text("g") + struct.pack(">i", 5) + text("m") + (text(None) if version >= 3 else b"")))
        same(f"SyncGroup v{version}", frame(14, version, text("g") + struct.pack(">i", 5) + text("m") + (text(None) if version >= 3 else b"") + struct.pack(">i", 0)))
    for version in range(0, 3):
        same(f"LeaveGroup v{version}", frame(13, version, text("g") + text("m")))
    same("LeaveGroup v3", frame(13, 3, text("g") + struct.pack(">i", 1) + text("m") + text(None)))
    same("an empty group id", frame(12, 0, text("") + struct.pack(">i", 5) + text("m")))
    for version in range(0, 5):
        same(f"DescribeGroups v{version}", frame(15, version, struct.pack(">i", 1) + text("g") + (b"\1" if version >= 3 else b"")))
    same("DescribeGroups v6", frame(15, 6, b"\2" + compact("g") + b"\1\0", flexible=True))
    for group, topic in (("g", "d"), ("h", "d")):
        same(f"OffsetDelete of {group}", frame(47, 0, text(group) + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, 0)))
    same("DeleteGroups v1", frame(42, 1, struct.pack(">i", 2) + text("g") + text("h")))
    for version in range(1, 6):
        same(f"OffsetFetch v{version}", frame(9, version, text("g") + struct.pack(">i", 1) + text("d") + struct.pack(">ii", 1, 0)))
    same("OffsetFetch v8", frame(9, 8, b"\2" + compact("g") + b"\2" + compact("d") + b"\2" + struct.pack(">i", 0) + b"\0\0\0\0", flexible=True))
    for member, generation in (("", -1), ("m", 3)):
        same(f"OffsetCommit v5 of {member!r}", frame(8, 5, text("h") + struct.pack(">i", generation) + text(member) + struct.pack(">i", 1)
                                                    + text("d") + struct.pack(">iiq", 1, 0, 5) + text("note")))
    same("OffsetCommit of a stranger's topic", frame(8, 5, text("h") + struct.pack(">i", -1) + text("") + struct.pack(">i", 1)
                                                    + text("nope") + struct.pack(">iiq", 1, 0, 5) + text("")))
    same("the offset committed", frame(9, 5, text("h") + struct.pack(">i", 1) + text("d") + struct.pack(">ii", 1, 0)))
    same("ListGroups v4", frame(16, 4, b"\1\0", flexible=True))


@test
def bodies_with_bytes_behind_them():
    for extra in (b"\0", b"junk" * 10):
        same("ApiVersions", frame(18, 0, extra), hide=lambda a: a[:6])
        same("Heartbeat", frame(12, 0, text("g") + struct.pack(">i", 5) + text("m") + extra))
        same("ListOffsets", frame(2, 1, struct.pack(">ii", -1, 1) + text("d") + struct.pack(">iiq", 1, 0, -1) + extra))
        same("ListGroups", frame(16, 4, b"\1\0" + extra, flexible=True), hide=lambda a: a[:12])


def join(version, session=10000, member="", protocol_type="consumer", protocols=True):
    body = text("j") + struct.pack(">i", session) + (struct.pack(">i", 10000) if version >= 1 else b"") + text(member)
    body += (text(None) if version >= 5 else b"") + text(protocol_type)
    return frame(11, version, body + (struct.pack(">i", 1) + text("range") + struct.pack(">i", 1) + b"x" if protocols else struct.pack(">i", 0)))


@test
def joins_that_are_refused():
    for version in range(0, 6):
        same(f"session too short v{version}", join(version, session=1))
        same(f"an unknown member v{version}", join(version, member="nobody"))
        same(f"no protocols v{version}", join(version, protocols=False))
        same(f"no protocol type v{version}", join(version, protocol_type=""))


def code(answer):
    """CreateTopics v2 for a topic of one letter, up to the error code: the message is in our own words."""
    return answer[:17]


@test
def topics_that_are_refused():
    def create(name, partitions=1, factor=1, configs=b"\0\0\0\0", version=2, validate=b"\0"):
        return frame(19, version, struct.pack(">i", 1) + text(name) + struct.pack(">ihi", partitions, factor, 0) + configs + struct.pack(">i", 1000) + validate)
    for name in ("", ".", "..", "a/b", "x" * 250, "d"):
        same(f"create {name[:9]!r}", create(name))
    for partitions, factor in ((0, 1), (-2, 1), (1, 0), (1, -2), (1, 3)):
        same(f"create with {partitions}, {factor}", create("n", partitions, factor), hide=code)
    for key, value in (("retention.ms", "soon"), ("no.such.key", "1"), ("retention.ms", "-5"), ("cleanup.policy", "keep")):
        same(f"{key}={value}", create("n", configs=struct.pack(">i", 1) + text(key) + text(value)), hide=code)
    same("delete a stranger", frame(20, 1, struct.pack(">i", 1) + text("nope") + struct.pack(">i", 1000)))
    for name, count in (("d", 2), ("d", 1), ("nope", 3)):
        same(f"grow {name} to {count}", frame(37, 0, struct.pack(">i", 1) + text(name) + struct.pack(">iiib", count, -1, 1000, 0)), hide=lambda a: a[:16 + len(name)])


@test
def metadata_of_strangers_and_operations():
    for version in range(4, 9):
        tail = b"\0" + (b"\1\1" if version >= 8 else b"")
        # Behind the brokers: from the topic's name on.
        same(f"unknown topic v{version}", frame(3, version, struct.pack(">i", 1) + text("nope") + tail), hide=lambda a: a[a.index(b"\0\x04nope") - 2:])
        same(f"a topic v{version}", frame(3, version, struct.pack(">i", 1) + text("d") + tail), hide=lambda a: a[a.index(b"\0\1d") - 2:])
    for name in ("..", ""):
        same(f"bad name {name!r}", frame(3, 4, struct.pack(">i", 1) + text(name) + b"\0"), hide=lambda a: a[-(9 + len(name)):])
    same("no topics", frame(3, 1, struct.pack(">i", 0)), hide=lambda a: a[-4:])


@test
def coordinators_and_api_versions():
    for version in range(0, 3):
        same(f"unknown type v{version}", frame(10, version, text("k") + (b"\7" if version >= 1 else b"")) if version else frame(18, 0, b"x"[:0]),
             hide=lambda a: a[:10] if version else a[:6])
    same("ApiVersions 99", frame(18, 99, b"\1\1\0", flexible=True))
    same("a client without a name", frame(18, 3, b"\1\1\0", flexible=True))
    same("a client with a strange name", frame(18, 3, compact("-a") + compact("1") + b"\0", flexible=True))


@test
def config_of_a_topic_has_the_same_keys_values_and_sources():
    request = frame(32, 1, struct.pack(">ib", 1, 2) + text("d") + struct.pack(">i", -1) + b"\0")
    kafka, klamm = (dict(configs(peer.ask(request))) for peer in peers())
    equal(set(klamm) ^ set(kafka), set(), "the keys that only one has")
    for key in kafka:
        equal(klamm[key], kafka[key], key.decode())
    same("no such topic", frame(32, 1, struct.pack(">ib", 1, 2) + text("nope") + struct.pack(">i", -1) + b"\0"))


def configs(answer):
    """DescribeConfigs v1: name and the rest of each entry."""
    at = 4 + 4 + 4 + 2 + 2 + 1

    def string():
        nonlocal at
        size = struct.unpack_from(">h", answer, at)[0]
        at += 2 + max(size, 0)
        return answer[at - max(size, 0):at]
    string()
    count = struct.unpack_from(">i", answer, at)[0]
    at += 4
    for _ in range(count):
        name, start = string(), at
        string()
        at += 3 + 4  # read only, source, sensitive; no synonyms
        yield name, answer[start:at]


@test
def log_directories():
    def alter(path, topic, partition):
        return frame(34, 1, struct.pack(">i", 1) + text(path) + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, partition))

    def own(peer):
        return peer.broker.folder + "/data"
    same("a directory that is not there", alter("/none", "d", 0))
    for topic, partition in (("d", 0), ("nope", 0), ("d", 9)):
        kafka, klamm = (peer.ask(alter(own(peer), topic, partition)).hex() for peer in peers())
        equal(klamm, kafka, f"to where it is: {topic}-{partition}")
    for topics in (struct.pack(">i", 1) + text("d") + struct.pack(">iii", 2, 0, 1), struct.pack(">i", 0), struct.pack(">i", 1) + text("nope") + struct.pack(">ii", 1, 0)):
        kafka, klamm = (sorted(directories(peer.ask(frame(35, 1, topics)), own(peer)), key=repr) for peer in peers())
        equal(klamm, kafka, f"what lies in the directories: {topics}")


def directories(answer, own):
    """DescribeLogDirs v1: error, directory, topic and partition of each line; the sizes are each broker's own."""
    answer = Answer(answer, 8)
    take, string = answer.take, answer.text
    for _ in range(take(">i")):
        error, path = take(">h"), string()
        topics = take(">i")
        yield error, path == own, topics
        for _ in range(topics):
            topic = string()
            for _ in range(take(">i")):
                index, _size, lag, future = take(">iqq?")
                yield error, topic, index, lag, future


def producer_of(peer):
    """A producer's id and epoch, once the broker hands them out."""
    answer = eventually(lambda: [a for a in [peer.ask(frame(22, 0, text(None) + struct.pack(">i", 60000)))] if a[8:10] == b"\0\0"])[0]
    return struct.unpack(">qh", answer[10:20])


@test
def a_restart_leaves_of_each_producer_its_last_batch():
    """What came before the last batch cannot be told from a gap then: a client that sends it again is told so, and goes on with a
    new epoch, under which the batch is there twice. So it is with both."""
    told = {}
    for peer in peers():
        producer = producer_of(peer)

        def send(sequence, p=peer, who=producer):
            data = batch(producer=(*who, sequence))
            body = text(None) + struct.pack(">hi", -1, 5000) + struct.pack(">i", 1) + text("d") + struct.pack(">iii", 1, 1, len(data)) + data
            code, offset = struct.unpack(">hq", p.ask(frame(0, 3, body))[19:29])
            return code, offset >= 0
        told[peer.broker.kind] = [send(n) for n in (0, 1, 2, 0, 1, 2)]
        peer.restart()
        eventually(lambda: send(2)[0] == 0)
        told[peer.broker.kind] += [send(n) for n in (0, 1, 2, 3)]
    equal(told["klamm"], told["kafka"], "what repeated batches are told")
    equal([code for code, _ in told["kafka"][6:]], [45, 45, 0, 0], "the codes after a restart")


try:
    main()
finally:
    stop_peers()
