"""Streams groups (KIP-1071), the same bytes to klamm and to Apache Kafka 4.4.0: what a member is told of its tasks and of the
topics that its topology needs must be equal, and so must the records that the coordinators keep, but for topic ids and times."""
import struct

from groups_suite_tools import create_topic, let_coordinators_hear, topic_id
from peers import PEERS, Peer, compact, eventually, frame, main, peers, same, same_records, stop_peers, test, text
from streams_tools import describe, described, heartbeat, join, subtopology, told, topic_info, topology

Peer.more = "group.streams.assignment.interval.ms=0\ngroup.streams.initial.rebalance.delay.ms=0\n"
NOTHING = {"active": {}, "standby": {}, "warmup": {}}


def beat(what, request, version=1):
    """What both say of a heartbeat."""
    said = []

    def hide(answer):
        said.append(told(answer, version))
        return said[-1]
    same(what, request, hide)
    return said[-1]


def stateful(topic, changelog, id="0"):
    return topology(subtopology(id, [topic], changelogs=[topic_info(changelog, configs=[("cleanup.policy", "compact")])]))


def settle(group, member, epoch, owned=None, **more):
    """Heartbeats until the internal topics are there and the member has its tasks; its epoch then, with its tasks reported."""
    epochs = {}
    for peer in peers():
        now = [epoch]

        def is_stable(p=peer, now=now):
            said = told(p.ask(heartbeat(group, member, now[0], **(owned or {}), **more)))
            now[0] = said["epoch"] if said["code"] == 0 else now[0]
            return not said["status"] and said["active"] is not None
        eventually(is_stable, 20, "the member's tasks")
        epochs[peer] = now[0]
    assert len(set(epochs.values())) == 1, {p.broker.kind: e for p, e in epochs.items()}
    return epochs[peers()[0]]


def alter_group(group, **configs):
    body = compact(group) + bytes([len(configs) + 1])
    for key, value in configs.items():
        body += compact(key.replace("_", ".")) + b"\0" + compact(value) + b"\0"
    for peer in peers():
        peer.ask(frame(44, 1, b"\2\x20" + body + b"\0\0\0", flexible=True))
    let_coordinators_hear()


@test
def what_a_heartbeat_must_have():
    peers()
    shape = topology(subtopology("0", ["d"]))
    beat("no member", join("x", "", shape))
    beat("no group", join("", "m", shape))
    beat("blank instance", join("x", "m", shape, instance=" "))
    beat("blank rack", join("x", "m", shape, rack=" "))
    beat("no timeout", join("x", "m", shape, rebalance=-1))
    beat("no topology", join("x", "m", None))
    for kind in ("active", "standby", "warmup"):
        beat(f"{kind} tasks at once", heartbeat("x", "m", 0, shape, **{**NOTHING, kind: {"0": [1]}}, rebalance=100))
        beat(f"no {kind} tasks but others", heartbeat("x", "m", 1, **{**NOTHING, kind: None}))
    beat("a topology later", heartbeat("x", "m", 1, shape))
    for epoch in (1, -1, -2, -3):
        beat(f"epoch {epoch}", heartbeat("x", "m", epoch))
    beat("a changelog with partitions", join("x", "m", topology(subtopology("0", ["d"], changelogs=[topic_info("c", 3)]))))
    beat("an instance that nobody has", heartbeat("x", "m", -2, instance="i"))


@test
def topologies_that_no_topics_could_serve():
    peers()
    beat("a loop", join("x", "m", topology(subtopology("0", sinks=["a"], repartition=[topic_info("b")]),
                                           subtopology("1", sinks=["b"], repartition=[topic_info("a")]))))
    beat("never written", join("x", "m", topology(subtopology("0", ["d"], repartition=[topic_info("b")]))))
    beat("no sources", join("x", "m", topology(subtopology("0"))))
    for wrong in ("__consumer_offsets", "__share_group_state", "no name", "..", ""):
        beat(f"source {wrong!r}", join("x", "m", topology(subtopology("0", [wrong]))))
        beat(f"changelog {wrong!r}", join("x", "m", topology(subtopology("0", ["d"], changelogs=[topic_info(wrong)]))))
        beat(f"sink {wrong!r}", join("x", "m", topology(subtopology("0", ["d"], sinks=[wrong]))))


@test
def topics_that_do_not_fit():
    create_topic("three", 3)
    create_topic("two", 2)
    beat("sources that are missing", join("lacks", "m", topology(subtopology("0", ["b", "a", "d", "e", "c"]))))
    beat("a join of two sizes", join("sizes", "m", topology(subtopology("0", ["three", "two"], copartition=[((0, 1), ())]))))
    shape = topology(subtopology("0", ["three"], sinks=["r"]), subtopology("1", ["two"], repartition=[topic_info("r", 5)], copartition=[((0,), (0,))]))
    beat("a repartition topic of another size", join("fixed", "m", shape))
    beat("a changelog of another size", join("changed", "m", stateful("three", "two")))
    beat("nothing at all", join("nothing", "m", topology()))
    for group in ("lacks", "sizes", "fixed", "changed", "nothing"):
        describe_group(group)
        beat(f"a member of {group} leaves", heartbeat(group, "m", -1))


def describe_group(*groups, **more):
    same(f"StreamsGroupDescribe of {groups}", describe(*groups, **more), hide=lambda a: described(a, more.get("version", 1)))


@test
def a_member_has_its_tasks_once_the_internal_topics_are_made():
    create_topic("lines", 3)
    shape = stateful("lines", "app-store-changelog")
    me = beat("join", join("app", "a", shape, endpoint=("h", 80), tags=[("zone", "z"), ("az", "1")], rack="r"))
    describe_group("app")
    epoch = settle("app", "a", me["epoch"])
    for peer in peers():
        assert topic_id(peer, "app-store-changelog") != bytes(16)
    tasks = {"active": {"0": [0, 1, 2]}, "standby": {}, "warmup": {}}
    beat("it reports them", heartbeat("app", "a", epoch, **tasks))
    beat("v0", heartbeat("app", "a", epoch, **tasks, version=0), version=0)
    beat("with the endpoints it knows", heartbeat("app", "a", epoch, endpoint_epoch=1))
    for owned in ({"0": [3]}, {"0": [-1]}, {"9": [0]}):
        beat(f"it reports {owned}", heartbeat("app", "a", epoch, active=owned, standby={}, warmup={}))
    beat("a later epoch", heartbeat("app", "a", epoch + 1, **tasks))
    beat("an earlier one", heartbeat("app", "a", epoch - 1, **tasks))
    beat("how far it has come", heartbeat("app", "a", epoch, task_offsets={("0", 1): 5, ("0", 0): 7}, end_offsets={("0", 1): 9}))
    beat("another topology", join("app", "b", topology(subtopology("0", ["d"]))))
    beat("another epoch of it", join("app", "b", shape.replace(b"\0\0\0\0", b"\0\0\0\1", 1)))
    describe_group("app", "no such group")
    describe_group("app", version=0)
    describe_group("app", topology_description=True)
    commits("app", "a", epoch)
    rejoined = beat("it joins again", join("app", "a", shape, endpoint=("h", 81), tags=[("zone", "z"), ("az", "1")], rack="r"))
    describe_group("app")
    beat("it has it all shut down", heartbeat("app", "a", rejoined["epoch"], shutdown=True))
    beat("and is told", heartbeat("app", "a", rejoined["epoch"]))
    same("DeleteGroups of one with members", frame(42, 2, b"\2" + compact("app") + b"\0", flexible=True))
    beat("it leaves", heartbeat("app", "a", -1))
    beat("it leaves again", heartbeat("app", "a", -1))
    describe_group("app")


def commits(group, member, epoch):
    """Commits to a partition of a task, one that is no task's, and with other epochs."""
    for topic, partition, generation, version in (("lines", 0, epoch, 9), ("lines", 7, epoch, 9), ("d", 0, epoch, 9), ("lines", 0, epoch + 1, 9),
                                                  ("lines", 0, epoch - 1, 9), ("d", 0, epoch - 1, 9), ("lines", 0, epoch, 8)):
        body = compact(group) + struct.pack(">i", generation) + compact(member) + b"\0\2" + compact(topic) + b"\2"
        body += struct.pack(">iqi", partition, 5, -1) + b"\1\0\0\0"
        same(f"OffsetCommit v{version} of {topic}-{partition} at {generation}", frame(8, version, body, flexible=True))
    for who, at in ((member, epoch), (member, epoch - 1), ("nobody", epoch), (None, -1)):
        topics = b"\2" + compact("lines") + b"\2" + struct.pack(">i", 0) + b"\0"
        body = b"\2" + compact(group) + (b"\0" if who is None else compact(who)) + struct.pack(">i", at) + topics + b"\0\0\0"
        same(f"OffsetFetch of {who} at {at}", frame(9, 9, body, flexible=True))
    delete = text(group) + struct.pack(">i", 1) + text("lines") + struct.pack(">ii", 1, 0)
    same("OffsetDelete of a topic that is read", frame(47, 0, delete))


@test
def tasks_move_from_one_member_to_another():
    create_topic("moves", 4)
    shape = topology(subtopology("0", ["moves"]))
    a = beat("a joins", join("pair", "a", shape, process="p"))
    b = beat("b joins", join("pair", "b", shape, process="q"))
    describe_group("pair")
    a = beat("a is to give back", heartbeat("pair", "a", a["epoch"], active={"0": [0, 1, 2, 3]}, standby={}, warmup={}))
    beat("b waits", heartbeat("pair", "b", b["epoch"], **NOTHING))
    describe_group("pair")
    beat("a has not yet", heartbeat("pair", "a", a["epoch"], active={"0": [0, 1, 2]}, standby={}, warmup={}))
    a = beat("a has", heartbeat("pair", "a", a["epoch"], active={"0": [0, 1]}, standby={}, warmup={}))
    b = beat("b takes over", heartbeat("pair", "b", b["epoch"], **NOTHING))
    describe_group("pair")
    beat("b leaves", heartbeat("pair", "b", -1))
    a = beat("a has them all", heartbeat("pair", "a", a["epoch"], active={"0": [0, 1]}, standby={}, warmup={}))
    beat("and reports them", heartbeat("pair", "a", a["epoch"], active={"0": [0, 1, 2, 3]}, standby={}, warmup={}))
    beat("a leaves", heartbeat("pair", "a", -1))


@test
def a_standby_is_kept_by_another_process():
    create_topic("kept", 2)
    alter_group("copies", streams_num_standby_replicas="1")
    shape = stateful("kept", "copies-store-changelog")
    a = beat("a joins", join("copies", "a", shape, process="p"))
    epoch = settle("copies", "a", a["epoch"])
    b = beat("b joins", join("copies", "b", shape, process="q"))
    a = beat("a gives back", heartbeat("copies", "a", epoch, active={"0": [0, 1]}, standby={}, warmup={}))
    one = {"active": a["active"], "standby": {}, "warmup": {}}
    a = beat("a has given back", heartbeat("copies", "a", a["epoch"], **one))
    b = beat("b takes over", heartbeat("copies", "b", b["epoch"], **NOTHING))
    beat("b reports", heartbeat("copies", "b", b["epoch"], active=b["active"] or {}, standby=b["standby"] or {}, warmup={}))
    describe_group("copies")
    alter_group("copies", streams_num_standby_replicas="0")
    beat("no copies any more", heartbeat("copies", "b", b["epoch"]))
    beat("b leaves", heartbeat("copies", "b", -1))
    beat("a leaves", heartbeat("copies", "a", -1))


@test
def repartition_topics_are_as_large_as_what_is_written_to_them():
    create_topic("left", 4)
    create_topic("right", 4)
    shape = topology(subtopology("0", ["left"], sinks=["shapes-r"]),
                     subtopology("1", ["right"], changelogs=[topic_info("shapes-c")], repartition=[topic_info("shapes-r")], copartition=[((0,), (0,))]))
    me = beat("join", join("shapes", "a", shape))
    epoch = settle("shapes", "a", me["epoch"])
    describe_group("shapes")
    for peer in peers():
        answer = peer.ask(frame(3, 1, struct.pack(">i", 1) + text("shapes-r")))
        assert answer.count(text("shapes-r")) == 1 and len(answer) > 100, answer
    beat("it leaves", heartbeat("shapes", "a", -1))
    assert epoch > me["epoch"]


@test
def a_static_member():
    create_topic("stays", 2)
    shape = topology(subtopology("0", ["stays"]))
    me = beat("join", join("static", "a", shape, instance="i"))
    beat("somebody else with its instance", join("static", "b", shape, instance="i"))
    beat("it leaves for a while", heartbeat("static", "a", -2, instance="i"))
    describe_group("static")
    beat("it speaks again", heartbeat("static", "a", me["epoch"], instance="i"))
    again = beat("it is back by another name", join("static", "b", shape, instance="i"))
    beat("the former one speaks", heartbeat("static", "a", me["epoch"], instance="i"))
    beat("the former one leaves", heartbeat("static", "a", -2, instance="i"))
    beat("an instance that nobody has", heartbeat("static", "b", again["epoch"], instance="j"))
    beat("by the member's name", heartbeat("static", "b", again["epoch"]))
    describe_group("static")
    beat("it leaves for good", heartbeat("static", "b", -1, instance="i"))


@test
def the_first_assignment_waits_if_it_is_told_to():
    create_topic("waits", 2)
    alter_group("slow", streams_initial_rebalance_delay_ms="1500")
    shape = topology(subtopology("0", ["waits"]))
    me = beat("join", join("slow", "a", shape))
    other = beat("another", join("slow", "b", shape, process="q"))
    beat("not yet", heartbeat("slow", "a", me["epoch"]))
    for peer in peers():
        eventually(lambda p=peer: b"\nAssigning" not in p.ask(describe("slow")), 20, "the assignment")
    beat("a has its task", heartbeat("slow", "a", me["epoch"], **NOTHING))
    beat("b has its task", heartbeat("slow", "b", other["epoch"], **NOTHING))
    beat("a leaves", heartbeat("slow", "a", -1))
    beat("b leaves", heartbeat("slow", "b", -1))


@test
def tags_that_members_must_have():
    create_topic("tagged", 1)
    alter_group("racks", streams_rack_aware_assignment_tags="zone,cluster")
    shape = topology(subtopology("0", ["tagged"]))
    beat("join", join("racks", "a", shape, tags=[("zone", "1")]))
    beat("join with both", join("racks", "a", shape, tags=[("zone", "1"), ("cluster", "2")]))
    beat("a leaves", heartbeat("racks", "a", -1))


@test
def a_group_of_another_kind_is_not_theirs():
    create_topic("others", 1)
    beat("join", join("kinds", "a", topology(subtopology("0", ["others"]))))

    def consumer(epoch):
        body = compact("kinds") + compact("c") + struct.pack(">i", epoch) + b"\0\0" + struct.pack(">i", 1000) + b"\2" + compact("others") + b"\0\0\1\0"
        return frame(68, 1, body, flexible=True)
    same("ConsumerGroupHeartbeat", consumer(0), hide=lambda a: a[9:11])
    same("ListGroups", frame(16, 5, b"\2" + compact("Stable") + b"\2" + compact("streams") + b"\0", flexible=True),
         hide=lambda a: compact("kinds") + compact("streams") + compact("Stable") + compact("streams") in a)
    beat("it leaves", heartbeat("kinds", "a", -1))
    same("ConsumerGroupHeartbeat once it is empty", consumer(0), hide=lambda a: a[9:11])
    same("DeleteGroups", frame(42, 2, b"\2" + compact("kinds") + b"\0", flexible=True))
    describe_group("kinds")


@test
def descriptions_need_a_plugin():
    peers()
    for group in ("app", "nothing of that name", ""):
        same("StreamsGroupTopologyDescriptionUpdate", frame(93, 0, compact(group) + compact("m") + struct.pack(">i", 0) + b"\1\1\0\0", flexible=True))


@test
def the_records_of_the_coordinators_are_the_same():
    peers()
    same_records(("__consumer_offsets", "--offsets-decoder"))
    assert PEERS


try:
    main()
finally:
    stop_peers()
