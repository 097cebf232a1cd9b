"""Running a cluster with Kafka's own tools: moving partitions, elections, features, voters, nodes that go for good."""
import json
import os
import pathlib
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from cluster import Cluster, admin, create_topic, partitions_of  # noqa: E402
from load import Load  # noqa: E402
from stock_tools import said, tool  # noqa: E402
from tap import equal, eventually, main, name, test  # noqa: E402

KIND = os.environ["AGAINST"]
TOOLS = "org.apache.kafka.tools."
FOUR = []


def four_nodes():
    """One cluster for all of these tests: the start of four Apache Kafkas is long."""
    if not FOUR:
        FOUR.append(Cluster([KIND] * 4).__enter__())
    return FOUR[0]


def replicas_of(cluster, topic, index=0):
    return partitions_of(cluster, topic)[index].replicas


def reassign(cluster, topic, targets, *how):
    plan = pathlib.Path(cluster.folder) / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [
        {
    "topic" : topic, "partition" : index, "replicas" : replicas} for index, replicas in targets.items()]}))
    return said(TOOLS + "reassign.ReassignPartitionsCommand", "--bootstrap-server", cluster.bootstrap,
                "--reassignment-json-file", plan, *how)


def moved(cluster, topic, targets):
    state = reassign(cluster, topic, targets, "--verify", "--preserve-throttles")
    return state.count("is completed") == len(targets)


@test
def partitions_move_under_load_and_leave_nothing_behind():
    cluster, topic = four_nodes(), name()
    create_topic(cluster, topic, 2)
    before = {index: replicas_of(cluster, topic, index) for index in range(2)}
    targets = {index: [n % 4 + 1 for n in replicas] for index, replicas in before.items()}
    with Load(cluster, topic) as load:
        time.sleep(1)
        reassign(cluster, topic, targets, "--execute")
        eventually(lambda: moved(cluster, topic, targets), 60, "the move of two partitions")
        time.sleep(1)
    assert load.check() > 100
    for index, replicas in targets.items():
        equal(sorted(replicas_of(cluster, topic, index)), sorted(replicas), "the replicas")
        gone = set(before[index]) - set(replicas)
        for node in gone:
            folder = pathlib.Path(cluster.node(node).folder) / "data" / f"{topic}-{index}"
            eventually(lambda f=folder: not f.exists(), 20, f"that node {node} has no {folder.name}")


def alter_reassignment(node, topic, replicas):
    """AlterPartitionReassignments v0 of partition 0: to these replicas, or with None called off. The stock tool asks for brokers that
    are up, which a move that stays under way must do without. The partition's error code."""
    wanted = b"\0" if replicas is None else bytes([len(replicas) + 1]) + struct.pack(f">{len(replicas)}i", *replicas)
    body = struct.pack(">i", 30000) + b"\2" + bytes([len(topic) + 1]) + topic.encode() + b"\2" + struct.pack(">i", 0) + wanted + b"\0\0\0"
    frame = struct.pack(">hhih", 45, 0, 1, 1) + b"a" + b"\0" + body
    with socket.create_connection((node.host, node.port), 30) as connection:
        connection.settimeout(40)
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        answer = connection.makefile("rb")
        answer = answer.read(struct.unpack(">i", answer.read(4))[0])
    at = answer.index(topic.encode()) + len(topic) + 1  # behind the name: the partitions' count
    return struct.unpack(">h", answer[at + 4:at + 6])[0]


@test
def a_move_is_listed_and_called_off():
    cluster, topic = four_nodes(), name()
    create_topic(cluster, topic, 1)
    before = replicas_of(cluster, topic)
    other = ({1, 2, 3, 4} - set(before)).pop()
    cluster.node(other).end(signal.SIGKILL)
    try:
        equal(alter_reassignment(cluster.node(before[0]), topic, [other, *before[1:]]), 0, "the error code of the move")

        def listed():
            text = said(TOOLS + "reassign.ReassignPartitionsCommand", "--bootstrap-server", cluster.bootstrap, "--list")
            return f"{topic}-0" in text and f"adding: {other}" in text and f"removing: {before[0]}" in text
        eventually(listed, 30, "the move in the list")
        equal(alter_reassignment(cluster.node(before[0]), topic, None), 0, "the error code of calling it off")
        eventually(lambda: sorted(replicas_of(cluster, topic)) == sorted(before), 20, "the replicas as they were")
        equal(alter_reassignment(cluster.node(before[0]), topic, None), 85, "the error code when there is none under way")
    finally:
        cluster.node(other).start()


def fill(cluster, topic, megabytes):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 5})
    for _ in range(megabytes * 10):
        producer.produce(topic, os.urandom(100_000))
        producer.poll(0)
    equal(producer.flush(60), 0, "the number of records that were not acknowledged")


def throttles(cluster, kind, resource):
    """What kafka-configs tells of throttles that are set for it."""
    text = said("kafka.admin.ConfigCommand", "--bootstrap-server", cluster.bootstrap, "--describe", "--entity-type", kind,
                "--entity-name", resource)
    return sorted(word.split("=")[0] for word in text.split() if "throttled." in word and "{" not in word)


@test
def a_throttled_move_takes_its_time_and_takes_the_throttle_away():
    cluster, topic = four_nodes(), name()
    create_topic(cluster, topic, 1)
    fill(cluster, topic, 12)
    before = replicas_of(cluster, topic)
    other = ({1, 2, 3, 4} - set(before)).pop()
    targets = {0: [before[0], before[1], other]}
    started = time.monotonic()
    reassign(cluster, topic, targets, "--execute", "--throttle", 1_000_000)
    equal(throttles(cluster, "topics", topic), ["follower.replication.throttled.replicas", "leader.replication.throttled.replicas"],
          "the topic's throttles")
    equal(throttles(cluster, "brokers", other), ["follower.replication.throttled.rate", "leader.replication.throttled.rate"],
          "the broker's throttles")
    time.sleep(max(0, 4 - (time.monotonic() - started)))
    assert sorted(replicas_of(cluster, topic)) != sorted(targets[0]), "12 MB have moved within 4 s at 1 MB/s"
    eventually(lambda: moved(cluster, topic, targets), 60, "the end of the move")
    reassign(cluster, topic, targets, "--verify")
    eventually(lambda: throttles(cluster, "topics", topic) + throttles(cluster, "brokers", other) == [], 20, "no throttle")


@test
def a_bad_target_is_refused():
    cluster, topic = four_nodes(), name()
    create_topic(cluster, topic, 1)
    plan = pathlib.Path(cluster.folder) / "bad.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [1, 77]}]}))
    done = tool(TOOLS + "reassign.ReassignPartitionsCommand", "--bootstrap-server", cluster.bootstrap,
                "--reassignment-json-file", plan, "--execute")
    assert done.returncode != 0, done.stdout


@test
def the_preferred_leader_is_elected_on_demand():
    cluster, topic = four_nodes(), name()
    create_topic(cluster, topic, 1)
    eventually(lambda: len(partitions_of(cluster, topic)[0].isrs) == 3, 30, "the ISR of three")
    first = replicas_of(cluster, topic)[0]
    cluster.node(first).end(signal.SIGTERM)
    eventually(lambda: partitions_of(cluster, topic)[0].leader not in (first, -1), 30, "another leader")
    cluster.node(first).start()
    eventually(lambda: len(partitions_of(cluster, topic)[0].isrs) == 3, 60, "the ISR of three")
    elect = lambda: tool(TOOLS + "LeaderElectionCommand", "--bootstrap-server", cluster.bootstrap,  # noqa: E731
                         "--election-type", "preferred", "--topic", topic, "--partition", 0)
    said_first = elect()
    equal(said_first.returncode, 0, said_first.stderr[-300:])
    eventually(lambda: partitions_of(cluster, topic)[0].leader == first, 20, "the first replica in the lead")
    assert "already" in elect().stdout.lower() or "not needed" in elect().stdout.lower(), elect().stdout


@test
def features_go_down_and_up():
    cluster = four_nodes()
    feature = lambda *what: tool(TOOLS + "FeatureCommand", "--bootstrap-server", cluster.bootstrap, *what)  # noqa: E731

    def level():
        line = [words for words in map(str.split, feature("describe").stdout.splitlines())
                if words[:2] == ["Feature:", "streams.version"]][0]
        return line[line.index("FinalizedVersionLevel:") + 1]
    equal(level(), "1", "streams.version")
    done = feature("downgrade", "--feature", "streams.version=0")
    equal(done.returncode, 0, done.stdout + done.stderr)
    eventually(lambda: level() == "0", 20, "streams.version 0")
    equal(feature("upgrade", "--feature", "streams.version=1").returncode, 0, "the upgrade")
    eventually(lambda: level() == "1", 20, "streams.version 1")
    for refused in (["upgrade", "--feature", "streams.version=9"], ["downgrade", "--metadata", "4.0-IV3"]):
        done = feature(*refused)
        assert done.returncode != 0, f"{refused}: {done.stdout}"


def quorum(cluster, *what, **options):
    return tool(TOOLS + "MetadataQuorumCommand", "--bootstrap-server", cluster.bootstrap, *options.get("first", []), *what)


def voters(cluster):
    lines = quorum(cluster, "describe", "--replication").stdout.splitlines()
    return sorted(line.split()[0] for line in lines if line.split()[-1:] in (["Leader"], ["Follower"]))


def directory_of(node):
    lines = (pathlib.Path(node.folder) / "data" / "meta.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["directory.id"]


@test
def a_static_quorum_becomes_dynamic_and_voters_come_and_go():
    cluster, topic = four_nodes(), name()
    equal(voters(cluster), ["1", "2", "3", "4"], "the voters")
    upgrade = lambda: tool(TOOLS + "FeatureCommand", "--bootstrap-server", cluster.bootstrap,  # noqa: E731
                           "upgrade", "--feature", "kraft.version=1")
    # The voters tell each new leader of themselves after some seconds; Apache Kafka's ends when asked before that.
    time.sleep(10)
    eventually(lambda: upgrade().returncode == 0, 60, "kraft.version 1")
    create_topic(cluster, topic, 1)
    with Load(cluster, topic) as load:
        fourth = cluster.node(4)
        done = quorum(cluster, "remove-controller", "--controller-id", 4, "--controller-directory-id", directory_of(fourth))
        equal(done.returncode, 0, done.stdout + done.stderr)
        eventually(lambda: voters(cluster) == ["1", "2", "3"], 20, "three voters")
        add = lambda: quorum(cluster, "add-controller", first=["--command-config", fourth.properties])  # noqa: E731
        eventually(lambda: add().returncode == 0, 60, "the fourth voter")
        eventually(lambda: voters(cluster) == ["1", "2", "3", "4"], 20, "four voters")


        def is_duplicate():
            again = add()
            assert again.returncode != 0, again.stdout
            return "DuplicateVoter" in again.stdout + again.stderr
        eventually(is_duplicate, 30, "DuplicateVoter for a voter that is one")  # a leader that just lost its place says so instead
    assert load.check() > 100
    # They stand in the log now: who comes back finds them there.
    for node in cluster.nodes[:2]:
        node.end(signal.SIGTERM)
        node.start()
    eventually(lambda: voters(cluster) == ["1", "2", "3", "4"], 30, "four voters after restarts")


@test
def a_broker_that_is_gone_for_good_is_unregistered():
    cluster = four_nodes()
    cluster.node(4).end(signal.SIGTERM)
    unregister = lambda: tool(TOOLS + "ClusterTool", "unregister", "--bootstrap-server", cluster.bootstrap, "--id", 4)  # noqa: E731
    done = unregister()
    equal(done.returncode, 0, done.stdout + done.stderr)
    assert "is no longer registered" in done.stdout, done.stdout
    again = unregister()
    assert again.returncode != 0 or "not" in again.stdout, again.stdout
    client = admin(cluster)
    eventually(lambda: sorted(client.list_topics(timeout=10).brokers) == [1, 2, 3], 20, "three brokers")


try:
    main()
finally:
    for made in FOUR:
        made.__exit__(*sys.exc_info() if sys.exc_info()[0] not in (None, SystemExit) else (None,))
