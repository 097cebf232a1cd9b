"""Share groups (KIP-932), the same bytes to klamm and to Apache Kafka 4.4.0: what a member acquires and is told of what it
acknowledges must be equal, and so must the records that the share coordinators keep, but for topic ids and times."""
import struct

from groups_suite_tools import Reader, compact_list, create_topic, each_with_ids, topic_id
from peers import compact, eventually, frame, main, peers, same, same_records, stop_peers, test
from wire import batch

GROUP = "sg"
ACCEPT, RELEASE, REJECT, RENEW = 1, 2, 3, 4


def heartbeat(group, member, epoch, topics=None):
    body = compact(group) + compact(member) + struct.pack(">i", epoch) + b"\0"
    body += compact_list(None if topics is None else [compact(t) for t in topics]) + b"\0"
    return frame(76, 1, body, flexible=True)


def told(answer):
    """The code, epoch and assignment of a heartbeat."""
    at = Reader(answer, 9)
    code, _, _ = at.take(">h"), at.compact(), at.compact()
    epoch, _ = at.take(">ii")
    return code, epoch, answer[at.at:]


def topics_of(peer, places, partition):
    return compact_list([topic_id(peer, topic) + compact_list([partition(p, acks) for p, acks in parts]) + b"\0" for topic, parts in places])


def ack_batches(acks):
    return compact_list([struct.pack(">qq", first, last) + compact_list([bytes([t]) for t in types]) + b"\0" for first, last, types in acks])


def share_fetch(member, epoch, places=(), max_records=500, batch_size=500, mode=0, group=GROUP, wait=500):
    """`places`: topics, each with partitions and their acknowledgements (first, last, types)."""
    def make(peer):
        body = compact(group) + compact(member) + struct.pack(">iiiiiib?", epoch, wait, 1, 1 << 20, max_records, batch_size, mode, False)
        body += topics_of(peer, places, lambda p, acks: struct.pack(">i", p) + ack_batches(acks) + b"\0")
        return frame(78, 2, body + b"\1\0", flexible=True)

    def read(answer):
        at = Reader(answer, 5)
        _, code, _, lock = at.take(">i"), at.take(">h"), at.compact(), at.take(">i")
        told = {"code": code, "lock": lock if code == 0 else 0}
        for _ in range(at.count()):
            topic = at.bytes(16)
            for _ in range(at.count()):
                index, error, _, ack_error, _ = at.take(">i"), at.take(">h"), at.compact(), at.take(">h"), at.compact()
                at.take(">iib")
                records = at.compact() or b""
                acquired = [at.take(">qqhb")[:3] for _ in range(at.count())]
                at.take(">b")
                told[topic, index] = (error, ack_error, len(records) if acquired else 0, acquired)
            at.take(">b")
        return told

    return each_with_ids(f"ShareFetch of {member} at {epoch}", make, read)


def share_acknowledge(member, epoch, places, group=GROUP, renew=False):
    def make(peer):
        body = compact(group) + compact(member) + struct.pack(">i?", epoch, renew)
        body += topics_of(peer, places, lambda p, acks: struct.pack(">i", p) + ack_batches(acks) + b"\0")
        return frame(79, 2, body + b"\0", flexible=True)

    def read(answer):
        at = Reader(answer, 5)
        _, code, _, _ = at.take(">i"), at.take(">h"), at.compact(), at.take(">i")
        told = {"code": code}
        for _ in range(at.count()):
            topic = at.bytes(16)
            for _ in range(at.count()):
                index, error, _ = at.take(">i"), at.take(">h"), at.compact()
                at.take(">iibb")
                told[topic, index] = error
            at.take(">b")
        return told

    return each_with_ids(f"ShareAcknowledge of {member} at {epoch}", make, read)


def produce(topic, *counts):
    for peer in peers():
        for count in counts:
            data = batch(count)
            body = b"\0" + struct.pack(">hi", -1, 5000) + b"\2" + compact(topic) + b"\2" + struct.pack(">i", 0)
            size = len(data) + 1
            body += (bytes([size & 127 | 128, size >> 7]) if size > 127 else bytes([size])) + data + b"\0\0\0"
            peer.ask(frame(0, 9, body, flexible=True))


ID = "AAAAAAAAAAAAAAAAAAAAAQ"


def find_coordinator(key_type, key, version=6):
    return frame(10, version, bytes([key_type]) + compact_list([compact(key)]) + b"\0", flexible=True)


def join(member, topic, group=GROUP):
    """The epoch of the member once it has something to read, which takes Kafka some heartbeats more."""
    for peer in peers():
        for key_type in (0, 2):
            find = find_coordinator(key_type, group if key_type == 0 else f"{group}:{ID}:0")
            eventually(lambda p=peer, f=find: b"127.0.0.1" in p.ask(f))
        epoch = [0]

        def assigned(p=peer, epoch=epoch):
            code, now, assignment = told(p.ask(heartbeat(group, member, epoch[0], [topic])))
            epoch[0] = now if code == 0 else epoch[0]
            return topic_id(p, topic) in assignment
        eventually(assigned, 30, "an assignment")


def earliest(group):
    configs = compact_list([compact("share.auto.offset.reset") + b"\0" + compact("earliest") + b"\0"])
    for peer in peers():
        peer.ask(frame(44, 1, compact_list([b"\x20" + compact(group) + configs + b"\0"]) + b"\0\0", flexible=True))


@test
def what_a_heartbeat_must_have():
    peers()
    for request in (heartbeat("", "m", 0, ["d"]), heartbeat("x", "", 0, ["d"]), heartbeat("x", "m", 0), heartbeat("x", "m", -2),
                    heartbeat("x", "m", 3), heartbeat("x", "m", -1)):
        same("ShareGroupHeartbeat", request, hide=lambda a: str(told(a)))


@test
def a_share_coordinator_is_found_by_group_topic_and_partition():
    for peer in peers():
        eventually(lambda p=peer: b"127.0.0.1" in p.ask(find_coordinator(2, f"g:{ID}:0")))
    for key in (f"g:{ID}:0", f"a:b:{ID}:7", f"g:{ID}:-1", f"g:{ID}:+3", f"g:{ID}:99999999999", f"g:{ID}:x", f"g:{ID}:", f"g:{ID}:0:1",
                f":{ID}:0", f"  :{ID}:0", f"{ID}:0", "g:x:0", "g::0", "g", "", ":", "::", ":::"):
        for version in (5, 6):
            same(f"FindCoordinator v{version} for {key!r}", find_coordinator(2, key, version),
                 hide=lambda a: "found" if b"127.0.0.1" in a else a[9:].hex())


@test
def sessions_have_epochs():
    create_topic("s", 1)
    share_fetch("m", 3)
    share_fetch("m", -1)
    share_fetch("", 0)
    share_acknowledge("m", 0, [])
    share_acknowledge("m", 1, [])
    share_fetch("m", 0, [("s", [(0, [(0, 0, [ACCEPT])])])])


@test
def records_are_acquired_and_acknowledged():
    create_topic("s", 1)
    earliest(GROUP)
    produce("s", 3, 4, 5)
    join("a", "s")
    acquired = None
    places = [("s", [(0, [])])]
    # Until the share partition is loaded there is nothing.
    acquired = share_fetch("a", 0, places, max_records=3, wait=5000)
    assert acquired[b"s", 0][3] == [(0, 2, 1)], acquired
    share_fetch("a", 2)
    share_acknowledge("a", 1, [("s", [(0, [(0, 0, [ACCEPT])])])])
    share_acknowledge("a", 2, [("s", [(0, [(0, 0, [ACCEPT])])])])
    share_acknowledge("a", 3, [("s", [(0, [(1, 9, [ACCEPT])])])])
    share_acknowledge("a", 4, [("s", [(0, [(1, 1, [9])])])])
    share_acknowledge("a", 5, [("s", [(0, [(1, 2, [REJECT, RELEASE])])])])
    share_acknowledge("a", 6, [("s", [(0, [(1, 1, [RENEW])])])])
    share_fetch("a", 7, max_records=4, batch_size=2)
    share_acknowledge("a", 8, [("s", [(0, [(2, 2, [RENEW])])])], renew=True)
    share_fetch("a", 9, [("s", [(0, [(2, 6, [ACCEPT])])])], max_records=2, mode=1)
    share_acknowledge("a", 10, [("s", [(0, [(7, 8, [RELEASE])])])])
    share_fetch("a", 11, max_records=1, mode=1)
    share_acknowledge("a", -1, [("s", [(0, [(7, 7, [ACCEPT])])])])
    share_fetch("a", 12)
    # The next session goes on behind it.
    share_fetch("a", 0, places, wait=5000)
    share_fetch("a", -1, [("s", [(0, [(8, 11, [ACCEPT])])])])


@test
def the_records_of_the_share_coordinators_are_the_same():
    # In which partition they are depends on the topic's id.
    same_records(("__share_group_state", "--share-group-state-decoder"), only="payload")


try:
    main()
finally:
    stop_peers()
