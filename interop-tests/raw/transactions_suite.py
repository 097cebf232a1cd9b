"""Transactions, the same bytes to klamm and to Apache Kafka 4.4.0: answers must be equal byte for byte, and so must the
records that the coordinators keep, but for their times."""
import re
import struct
import time

from peers import PEERS, compact, equal, eventually, frame, main, peers, same, same_records, stop_peers, test, text
from wire import batch


def init(id, version=2, timeout=60000, producer=(-1, -1)):
    body = (compact(id) if version >= 2 else text(id)) + struct.pack(">i", timeout)
    body += struct.pack(">qh", *producer) if version >= 3 else b""
    body += b"\0\0" if version >= 6 else b""
    return frame(22, version, body + (b"\0" if version >= 2 else b""), flexible=version >= 2)


def topics(places, flexible):
    """Partitions of topics, as most of the requests here name them."""
    if flexible:
        return bytes([len(places) + 1]) + b"".join(
            compact(topic) + bytes([len(parts) + 1]) + b"".join(struct.pack(">i", p) for p in parts) + b"\0" for topic, parts in places)
    return struct.pack(">i", len(places)) + b"".join(
        text(topic) + struct.pack(">i", len(parts)) + b"".join(struct.pack(">i", p) for p in parts) for topic, parts in places)


def add(id, producer, places, version=3, verify=False):
    flexible = version >= 3
    body = (compact(id) if flexible else text(id)) + struct.pack(">qh", *producer)
    body += struct.pack(">?", verify) if version >= 4 else b""
    body += topics(places, flexible)
    if version >= 4:
        body = b"\2" + body + b"\0"
    return frame(24, version, body + (b"\0" if flexible else b""), flexible)


def add_offsets(id, producer, group, version=3):
    say = compact if version >= 3 else text
    return frame(25, version, say(id) + struct.pack(">qh", *producer) + say(group) + (b"\0" if version >= 3 else b""), version >= 3)


def end(id, producer, commit, version=3):
    say = compact if version >= 3 else text
    return frame(26, version, say(id) + struct.pack(">qh?", *producer, commit) + (b"\0" if version >= 3 else b""), version >= 3)


def write_markers(producer, commit, places, coordinator_epoch=0, version=1, transaction_version=0):
    body = struct.pack(">qh?", *producer, commit) + topics(places, True) + struct.pack(">i", coordinator_epoch)
    body += bytes([transaction_version]) if version >= 2 else b""
    return frame(27, version, b"\2" + body + b"\0\0", flexible=True)


def commit_offset(id, group, producer, topic, partition, offset, version=3, member="", generation=-1):
    flexible = version >= 3
    say = compact if flexible else text
    body = say(id) + say(group) + struct.pack(">qh", *producer)
    body += struct.pack(">i", generation) + compact(member) + b"\0" if version >= 3 else b""
    body += (b"\2" if flexible else struct.pack(">i", 1)) + say(topic) + (b"\2" if flexible else struct.pack(">i", 1))
    body += struct.pack(">iq", partition, offset) + (struct.pack(">i", -1) if version >= 2 else b"") + say("note")
    return frame(28, version, body + (b"\0\0\0" if flexible else b""), flexible)


def produce(id, producer, sequence, partition=0, version=9, topic="d", acks=-1):
    data = batch(attributes=0x10, producer=(*producer, sequence))
    body = compact(id) + struct.pack(">hi", acks, 5000) + b"\2" + compact(topic) + b"\2" + struct.pack(">i", partition)
    body += bytes([(len(data) + 1) & 127 | 128, (len(data) + 1) >> 7]) if len(data) + 1 > 127 else bytes([len(data) + 1])
    return frame(0, version, body + data + b"\0\0\0", flexible=True)


def fetch(topic="d", partition=0, committed=True):
    body = struct.pack(">iiiibii", -1, 100, 1, 1 << 20, int(committed), 0, -1) + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">iiiqqi", 1, partition, -1, 0, -1, 1 << 20) + struct.pack(">i", 0) + text("")
    return frame(1, 11, body)


def stable_offset(group, topic="d", partition=0):
    body = b"\2" + compact(group) + b"\2" + compact(topic) + b"\2" + struct.pack(">i", partition) + b"\0\0\1\0"
    return frame(9, 8, body, flexible=True)


def describe(*ids):
    return frame(65, 0, bytes([len(ids) + 1]) + b"".join(compact(id) for id in ids) + b"\0", flexible=True)


def listed(states=(), producers=(), duration=None, pattern=None):
    version = 2 if pattern is not None else 1 if duration is not None else 0
    body = bytes([len(states) + 1]) + b"".join(compact(s) for s in states) + bytes([len(producers) + 1]) + struct.pack(f">{len(producers)}q", *producers)
    body += (struct.pack(">q", -1 if duration is None else duration) if version >= 1 else b"") + (compact(pattern) if version >= 2 else b"")
    return frame(66, version, body + b"\0", flexible=True)


def producers_of(topic, *partitions):
    return frame(61, 0, topics([(topic, partitions)], True) + b"\0", flexible=True)


def ready():
    """Brings __transaction_state into being, and waits for the coordinators."""
    if PEERS:
        return
    find = frame(10, 1, text("x") + b"\1")
    for peer in peers():
        eventually(lambda p=peer: p.ask(find)[8:10] == b"\0\0")
        # The first id of the first block, for a name that no test uses.
        eventually(lambda p=peer: p.ask(init("first"))[9:11] == b"\0\0")


def settled(*ids):
    """Until no transaction of these is about to end."""
    for peer in peers():
        eventually(lambda p=peer: b"Prepare" not in p.ask(describe(*ids)), 20, "the end of the transactions")


@test
def requests_of_strangers():
    ready()
    for version in range(0, 6):
        same(f"InitProducerId v{version} of nobody", init("", version))
        for timeout in (-1, 0, 900001):
            same(f"InitProducerId v{version} for {timeout} ms", init("s", version, timeout))
    same("InitProducerId with half an identity", init("s", 4, producer=(5, -1)))
    same("InitProducerId with the other half", init("s", 4, producer=(-1, 5)))
    for version in range(0, 6):
        if version <= 4:
            same(f"EndTxn v{version}", end("s", (7, 0), True, version))
            same(f"EndTxn v{version} of nobody", end("", (7, 0), True, version))
            same(f"AddOffsetsToTxn v{version}", add_offsets("s", (7, 0), "g", version))
        same(f"AddPartitionsToTxn v{version}", add("s", (7, 0), [("d", [0, 1])], version))
        same(f"AddPartitionsToTxn v{version} of nobody", add("", (7, 0), [("d", [0])], version))
        same(f"AddPartitionsToTxn v{version} of a stranger's topic", add("s", (7, 0), [("d", [0, 9]), ("nope", [0])], version))
    same("EndTxn v5", end("s", (7, 0), True, 5))
    same("verification", add("s", (7, 0), [("d", [0])], 4, verify=True))
    for version in range(0, 6):
        same(f"TxnOffsetCommit v{version}", commit_offset("s", "g", (7, 0), "d", 0, 5, version))
        same(f"TxnOffsetCommit v{version} of a stranger's topic", commit_offset("s", "g", (7, 0), "nope", 0, 5, version))
    same("DescribeTransactions", describe("s", "", "t"))
    same("ListTransactions by a state that is none", listed(["Ongoing", "Asleep"], [77]))
    same("ListTransactions by a pattern that is none", listed(pattern="(["))
    same("DescribeProducers", producers_of("d", 0, 1, 9))
    same("DescribeProducers of a stranger", producers_of("nope", 0), hide=lambda a: a[:21])
    for version in range(0, 7):
        same(f"FindCoordinator v{version}", find_coordinator(version), hide=lambda a: a[:10])


def find_coordinator(version):
    if version == 0:
        return frame(10, 0, text("g"))
    if version < 3:
        return frame(10, version, text("x") + b"\1")
    return frame(10, version, (compact("x") + b"\1" if version == 3 else b"\1\2" + compact("x")) + b"\0", flexible=True)


def identity(answer):
    """Of an InitProducerId answer."""
    return struct.unpack_from(">qh", answer, 4 + 1 + 4 + 2)


def begin(id, version=2, **more):
    """Its producer id and epoch, which both give alike."""
    request = init(id, version, **more)
    kafka, klamm = (peer.ask(request) for peer in peers())
    equal(klamm.hex(), kafka.hex(), f"InitProducerId v{version} of {id}")
    return identity(klamm)


def without_times(answer):
    """A Fetch or a describing answer without the times of these days, and without the checksums of batches, which hold them."""
    now = struct.pack(">q", int(time.time() * 1000))[:4]
    answer = re.sub(re.escape(now) + b".{4}", b"", answer, flags=re.S)
    return re.sub(rb"(\0\0\0\0\x02).{4}(\0[\x10\x30])", rb"\1\2", answer, flags=re.S)


@test
def the_life_of_a_transaction_v1():
    ready()
    me = begin("one")
    same("a batch before the partition is added", produce("one", me, 0), hide=lambda a: a[:30])
    same("verification before", add("one", me, [("d", [0])], 4, verify=True))
    same("add", add("one", me, [("d", [0])]))
    same("add once more", add("one", me, [("d", [0])]))
    same("verification after", add("one", me, [("d", [0])], 5, verify=True))
    same("verification of another", add("one", me, [("d", [1])], 5, verify=True))
    same("a batch", produce("one", me, 0))
    same("the same batch", produce("one", me, 0))
    same("a gap", produce("one", me, 5), hide=lambda a: a[:36])
    same("an old epoch", produce("one", (me[0], -1), 1), hide=lambda a: a[:30])
    same("what is stable", fetch(), hide=without_times)
    same("what is there", fetch(committed=False), hide=without_times)
    same("describe", describe("one"), hide=without_times)
    same("producers", producers_of("d", 0), hide=without_times)
    same("list", listed(["Ongoing"]))
    same("list by producer", listed([], [me[0]], 0))
    same("list by a long duration", listed([], [], 100000))
    same("list by pattern", listed(pattern="o.e"))
    same("commit by a stranger", end("one", (me[0] + 99, me[1]), True))
    same("commit by a zombie", end("one", (me[0], me[1] - 1), True))
    same("commit by a zombie, of old", end("one", (me[0], me[1] - 1), True, 1))
    same("commit", end("one", me, True))
    settled("one")
    same("commit again", end("one", me, True))
    same("abort after that", end("one", me, False))
    same("what is stable now", fetch(), hide=without_times)
    same("producers", producers_of("d", 0), hide=without_times)
    same("describe", describe("one"), hide=without_times)
    again = begin("one")
    equal(again, (me[0], me[1] + 1), "the next life")
    same("add by the life before", add("one", me, [("d", [0])], 1))
    same("add by the life before", add("one", me, [("d", [0])], 2))


@test
def what_is_open_is_aborted_by_the_next_life():
    ready()
    me = begin("two")
    same("add", add("two", me, [("d", [1])]))
    same("a batch", produce("two", me, 0, partition=1))
    for peer in peers():
        eventually(lambda p=peer: p.ask(init("two"))[9:11] == b"\0\0", 20, "the abort")
    same("list", listed(["CompleteAbort", "Empty"], [me[0]]))
    same("the life before", end("two", me, True))
    same("a batch of the life before", produce("two", me, 1, partition=1), hide=lambda a: a[:30])
    same("what is stable", fetch(partition=1), hide=without_times)
    same("describe", describe("two"), hide=without_times)


@test
def the_life_of_transactions_v2():
    ready()
    me = begin("three", 5)
    same("abort of nothing", end("three", me, False, 5))
    settled("three")
    me = begin("three", 5)
    for round in range(3):
        same("a batch that adds its partition", produce("three", me, 0, partition=1, version=12))
        same("the next one", produce("three", me, 1, partition=1, version=12))
        same("describe", describe("three"), hide=without_times)
        request = end("three", me, round != 1, 5)
        kafka, klamm = (peer.ask(request) for peer in peers())
        equal(klamm.hex(), kafka.hex(), f"the end of round {round}")
        before, me = me, struct.unpack_from(">qh", klamm, len(klamm) - 11)
        equal(me, (before[0], before[1] + 1), "each transaction has an epoch")
        settled("three")
        same("the end once more", end("three", before, round != 1, 5))
        same("another end", end("three", before, round == 1, 5))
        same("a batch of the transaction before", produce("three", before, 2, partition=1, version=12), hide=lambda a: a[:30])
        same("producers", producers_of("d", 1), hide=without_times)
    same("a batch that does not begin at 0", produce("three", me, 4, version=12), hide=lambda a: a[:30])
    # That has opened the transaction, which is aborted first.
    same("KIP-360: begins with an abort", init("three", 5, producer=me))
    settled("three")
    me = (me[0], me[1] + 1)
    same("KIP-360: goes on after an error", init("three", 5, producer=me))
    same("and once more", init("three", 5, producer=me))
    same("a zombie does not", init("three", 5, producer=(me[0], me[1] - 2)))
    same("nor of old", init("three", 3, producer=(me[0], me[1] - 2)))


@test
def offsets_in_a_transaction():
    ready()
    me = begin("four")
    for group, commit in (("tg", True), ("th", False)):
        same("add", add_offsets("four", me, group))
        same("commit of an offset", commit_offset("four", group, me, "d", 0, 5))
        same("the offset is not stable", stable_offset(group))
        same("describe", describe("four"), hide=without_times)
        same("a stranger in the group", commit_offset("four", group, me, "d", 0, 6, member="m", generation=3))
        same("the end", end("four", me, commit))
        settled("four")
        for peer in peers():
            eventually(lambda p=peer: struct.pack(">h", 88) not in p.ask(stable_offset(group))[-6:], 20, "a stable offset")
        same("the offset after that", stable_offset(group))
    me = begin("four", 5)
    same("an offset that adds its partition", commit_offset("four", "ti", me, "d", 1, 9, version=5))
    same("describe", describe("four"), hide=without_times)
    same("the end", end("four", me, True, 5))
    settled("four")
    same("the offset after that", stable_offset("ti", partition=1))


@test
def markers_from_outside():
    ready()
    begin("five")
    me = begin("five")
    same("add", add("five", me, [("d", [0])]))
    same("a batch", produce("five", me, 0))
    same("a marker of an old epoch", write_markers((me[0], me[1] - 1), True, [("d", [0])], 5))
    same("a marker for a stranger", write_markers(me, True, [("nope", [0])], 5))
    same("a marker", write_markers(me, False, [("d", [0])], 5))
    same("a marker of an older coordinator", write_markers(me, False, [("d", [0])], 4))
    same("a marker of a transaction that has an epoch", write_markers((me[0], me[1] + 1), False, [("d", [0])], 5, 2, 2))
    same("the same once more", write_markers((me[0], me[1] + 1), False, [("d", [0])], 5, 2, 2))
    same("producers", producers_of("d", 0), hide=without_times)


@test
def the_records_of_the_coordinators_are_the_same():
    ready()
    same_records(("__transaction_state", "--transaction-log-decoder"), ("__consumer_offsets", "--offsets-decoder"), ("d", "--print-data-log"))


try:
    main()
finally:
    stop_peers()
