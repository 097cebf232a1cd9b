"""Groups of the newer protocols, the same bytes to klamm and to Apache Kafka 4.4.0: what members are told must be equal, and
so must the records that the coordinators keep, but for topic ids, their hash and times."""
import struct

from groups_suite_tools import Reader, compact_list, create_topic, each_with_ids, let_coordinators_hear, topic_id
from peers import PEERS, Peer, compact, eventually, frame, main, peers, same, same_records, stop_peers, test, text

# Kafka would compute a target once a second; here each step is looked at.
Peer.more = "group.consumer.assignment.interval.ms=0\n"


def heartbeat(group, member, epoch, topics=None, regex=None, owned=(), timeout=None, instance=None, assignor=None, rack=None, version=1):
    """`owned`: topics with partitions; None: not said."""
    def make(peer):
        body = compact(group) + compact(member) + struct.pack(">i", epoch) + compact(instance) + compact(rack)
        body += struct.pack(">i", timeout if timeout is not None else 30000 if epoch == 0 else -1)
        body += compact_list(None if topics is None else [compact(t) for t in topics])
        body += (compact(regex) if version >= 1 else b"") + compact(assignor)
        body += compact_list(None if owned is None else [
            topic_id(peer, t) + compact_list([struct.pack(">i", p) for p in parts]) + b"\0" for t, parts in owned])
        return frame(68, version, body + b"\0", flexible=True)

    def read(answer):
        at = Reader(answer, 9)
        code, _, member_id = at.take(">h"), at.compact(), at.compact()  # the message is each broker's own
        member_epoch, _ = at.take(">ii")
        return {"code": code, "member": member_id, "epoch": member_epoch, "assignment": answer[at.at:]}

    return each_with_ids(f"heartbeat of {member} in {group} at {epoch}", make, read)


def describe(group):
    def read(answer):
        return {"answer": answer if answer[10:12] == b"\0\0" else answer[:12]}  # a message is each broker's own

    # Kafka tells members in an order that hashing gives.
    request = frame(69, 1, b"\2" + compact(group) + b"\0\0", flexible=True)
    return each_with_ids(f"ConsumerGroupDescribe of {group}", lambda _: request, read, lambda answer: bytes(sorted(answer["answer"])))


def commit(group, member, epoch, topic="d", partition=0, version=9):
    flexible = version >= 8
    say = compact if flexible else text
    body = say(group) + struct.pack(">i", epoch) + say(member) + (say(None) if version >= 7 else b"")
    body += (b"\2" if flexible else struct.pack(">i", 1)) + say(topic) + (b"\2" if flexible else struct.pack(">i", 1))
    body += struct.pack(">iqi", partition, 5, -1) + say("") + (b"\0\0\0" if flexible else b"")
    same(f"OffsetCommit v{version} of {member} at {epoch}", frame(8, version, body, flexible))


def fetch_offset(group, member, epoch, topic="d"):
    body = b"\2" + compact(group) + compact(member) + struct.pack(">i", epoch) + b"\2" + compact(topic) + b"\2" + struct.pack(">i", 0) + b"\0\0\0\0"
    same(f"OffsetFetch of {member} at {epoch}", frame(9, 9, body, flexible=True))


def list_groups(*types):
    body = b"\1" + compact_list([compact(t) for t in types])
    same("ListGroups", frame(16, 5, body + b"\0", flexible=True), hide=lambda a: bytes(sorted(a)))


@test
def what_a_heartbeat_must_have():
    peers()
    for version in (0, 1):
        heartbeat("x", "", 0, topics=["d"], version=version, timeout=-1)
        heartbeat("x", "", 3, version=version)
        heartbeat("x", "m", 0, version=version)
        heartbeat("x", "m", 0, topics=["d"], owned=None, version=version)
        heartbeat("x", "m", 0, topics=["d"], owned=[("d", [0])], version=version)
        heartbeat("x", "m", -2, version=version)
        heartbeat("x", "m", -3, version=version)
        heartbeat("x", "m", -1, version=version)
        heartbeat("x", "m", 5, version=version)
        heartbeat("", "m", 0, topics=["d"], version=version)
        heartbeat("x", "m", 0, topics=["d"], instance="", version=version)
        heartbeat("x", "m", 0, topics=["d"], assignor="none", version=version)
    heartbeat("x", "m", 0, regex="(")
    describe("x")


@test
def one_member_from_its_first_heartbeat_to_its_last():
    peers()
    me = heartbeat("one", "a", 0, topics=["d"])
    assert me["code"] == 0, me
    epoch = me["epoch"]
    owned = [("d", [0, 1])]
    heartbeat("one", "a", epoch, owned=owned)
    heartbeat("one", "a", epoch, owned=None)
    heartbeat("one", "a", epoch, topics=["d"], owned=owned, timeout=30000)
    heartbeat("one", "a", epoch + 1, owned=owned)
    heartbeat("one", "a", epoch - 1, owned=owned)
    heartbeat("one", "b", epoch)
    describe("one")
    list_groups()
    list_groups("consumer")
    commit("one", "a", epoch)
    commit("one", "a", epoch + 1)
    commit("one", "a", epoch - 1)
    commit("one", "b", epoch)
    commit("one", "", -1)
    commit("one", "a", epoch, version=8)
    fetch_offset("one", "a", epoch)
    fetch_offset("one", "a", epoch - 1)
    fetch_offset("one", "b", epoch)
    fetch_offset("one", None, -1)
    same("DescribeGroups of a consumer group", frame(15, 6, b"\2" + compact("one") + b"\0\0", flexible=True), hide=lambda a: a[:12])
    same("DeleteGroups of one with members", frame(42, 2, b"\2" + compact("one") + b"\0", flexible=True))
    heartbeat("one", "a", -1)
    describe("one")
    same("DeleteGroups", frame(42, 2, b"\2" + compact("one") + b"\0", flexible=True))
    describe("one")


@test
def a_member_without_topics():
    peers()
    me = heartbeat("none", "a", 0, topics=[])
    heartbeat("none", "a", me["epoch"], topics=["later"], owned=[], timeout=30000)
    create_topic("later", 1)
    heartbeat("none", "a", me["epoch"] + 1, owned=[])
    describe("none")
    heartbeat("none", "a", -1)


@test
def a_topic_that_grows():
    create_topic("grows", 1)
    me = heartbeat("growing", "a", 0, topics=["grows"])
    for peer in peers():
        peer.ask(frame(37, 1, struct.pack(">i", 1) + text("grows") + struct.pack(">iii?", 2, -1, 30000, False)))
        eventually(lambda p=peer: struct.pack(">i", 2) in p.ask(frame(3, 1, struct.pack(">i", 1) + text("grows")))[-80:])
    let_coordinators_hear()
    heartbeat("growing", "a", me["epoch"], owned=[("grows", [0])])
    heartbeat("growing", "a", me["epoch"] + 1, owned=[("grows", [0])])
    heartbeat("growing", "a", me["epoch"] + 1, topics=["grows"], owned=[("grows", [0, 1])], timeout=30000)
    heartbeat("growing", "a", -1)


@test
def two_members_share():
    """With the assignor whose outcome does not depend on an order that Java's hashing gives."""
    create_topic("shared", 4)
    a = heartbeat("two", "a", 0, topics=["shared"], assignor="range")
    b = heartbeat("two", "b", 0, topics=["shared"], assignor="range")
    describe("two")
    heartbeat("two", "a", a["epoch"], owned=[("shared", [0, 1, 2, 3])])
    heartbeat("two", "b", b["epoch"], owned=[])
    heartbeat("two", "a", a["epoch"], owned=[("shared", [0, 1, 2])])
    describe("two")
    commit("two", "a", a["epoch"], "shared", 0)
    commit("two", "a", a["epoch"], "shared", 3)
    heartbeat("two", "a", a["epoch"], owned=[("shared", [0, 1])])
    heartbeat("two", "b", b["epoch"], owned=[])
    describe("two")
    commit("two", "a", a["epoch"], "shared", 0)
    commit("two", "a", a["epoch"], "shared", 2)
    heartbeat("two", "b", -1)
    heartbeat("two", "a", b["epoch"], owned=[("shared", [0, 1])])
    describe("two")
    heartbeat("two", "a", -1)


@test
def a_static_member():
    peers()
    me = heartbeat("static", "a", 0, topics=["d"], instance="i")
    heartbeat("static", "b", 0, topics=["d"], instance="i")
    heartbeat("static", "a", -2, instance="i")
    describe("static")
    heartbeat("static", "a", me["epoch"], instance="i", owned=[("d", [0, 1])])
    again = heartbeat("static", "b", 0, topics=["d"], instance="i")
    heartbeat("static", "a", me["epoch"], instance="i")
    heartbeat("static", "b", again["epoch"], instance="other")
    describe("static")
    heartbeat("static", "b", -1, instance="i")
    heartbeat("static", "c", -1, instance="i")


@test
def the_records_of_the_coordinators_are_the_same():
    peers()
    same_records(("__consumer_offsets", "--offsets-decoder"))
    assert PEERS


try:
    main()
finally:
    stop_peers()
