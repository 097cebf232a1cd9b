"""Clusters of several nodes, klamm and Apache Kafka in any mixture."""
import pathlib
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from broker import Broker, free_port  # noqa: E402
from tap import eventually  # noqa: E402

PROPERTIES = """process.roles={roles}
node.id={id}
controller.quorum.voters={voters}
listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.num.partitions=5
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
group.streams.initial.rebalance.delay.ms=0
group.streams.min.heartbeat.interval.ms=500
group.streams.min.session.timeout.ms=6000
auto.create.topics.enable=false
"""
FACTORS = """default.replication.factor={factor}
offsets.topic.replication.factor={factor}
transaction.state.log.replication.factor={factor}
share.coordinator.state.topic.replication.factor={factor}
min.insync.replicas={in_sync}
transaction.state.log.min.isr={in_sync}
"""


class Node(Broker):
    """One node of a cluster; its kind may change while it is down."""

    def __init__(self, kind, folder, node_id, roles, port, controller_port, voters, host="127.0.0.1", wrapper=(), more=""):
        self.host, self.wrapper = host, list(wrapper)
        self.kind, self.folder, self.id, self.roles = kind, folder, node_id, roles
        self.port, self.controller_port, self.pid = port, controller_port, 0
        self.properties = folder + "/server.properties"
        self.state_file = folder + "/state.json"
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        listeners = [f"PLAINTEXT://{host}:{port}"] * ("broker" in roles) + \
                    [f"CONTROLLER://{host}:{controller_port}"] * ("controller" in roles)
        pathlib.Path(self.properties).write_text(PROPERTIES.format(
            roles=roles, id=node_id, voters=voters, listeners=",".join(listeners), data=folder + "/data") + more)

    def answers(self):
        """Up when the listener takes connections, and a broker also names itself in its metadata."""
        if "broker" in self.roles:
            host = self.host.encode()
            return struct.pack(f">ih{len(host)}si", self.id, len(host), host, self.port) in self.metadata()
        try:
            socket.create_connection((self.host, self.controller_port), 1).close()
            return True
        except OSError:
            return False

    def start(self, seconds=90):
        super().start(seconds)


class Cluster:
    """`kinds`: of the combined nodes 1, 2, ...; or, with `controllers`, of brokers whose controllers have these kinds."""

    def __init__(self, kinds, controllers=None):
        self.folder = tempfile.mkdtemp(prefix="klamm-cluster-")
        roles = [("broker,controller" if controllers is None else "broker", kind) for kind in kinds]
        roles += [("controller", kind) for kind in controllers or []]
        self.factor = min(len(kinds), 3)
        factors = FACTORS.format(factor=self.factor, in_sync=min(self.factor, 2))
        ports = [self.ports(i) for i in range(len(roles))]
        voters = ",".join(f"{i + 1}@{self.place(i)[0]}:{ports[i][1]}" for i, (role, _) in enumerate(roles) if "controller" in role)
        self.nodes = [Node(kind, f"{self.folder}/node-{i + 1}", i + 1, role, *ports[i], voters, *self.place(i), factors + self.more(i))
                      for i, (role, kind) in enumerate(roles)]
        self.brokers = [n for n in self.nodes if "broker" in n.roles]

    # Where the node of an index lives: its address, and the command that runs programs there.
    def place(self, _):
        return "127.0.0.1", ()

    def ports(self, _):
        return free_port(), free_port()

    # What its properties say besides.
    def more(self, _):
        return ""

    def __enter__(self):
        threads = [threading.Thread(target=n.start) for n in self.nodes]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return self

    def __exit__(self, kind, *_):
        for n in self.nodes:
            n.end(signal.SIGKILL)
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print("   logs are in", self.folder, flush=True)

    @property
    def bootstrap(self):
        return ",".join(b.address for b in self.brokers)

    def node(self, node_id):
        return self.nodes[node_id - 1]


def admin(cluster):
    from confluent_kafka.admin import AdminClient
    return AdminClient({"bootstrap.servers": cluster.bootstrap})


def create_topic(cluster, topic, partitions=3, config=None):
    from confluent_kafka.admin import NewTopic
    client = admin(cluster)
    for future in client.create_topics([NewTopic(topic, partitions, cluster.factor, config=config or {})], request_timeout=30).values():
        future.result()
    await_leaders(cluster.bootstrap, topic, partitions)


def await_leaders(bootstrap, topic, partitions):
    """Until the leader of each partition answers, for a producer whose first batch is refused may lose it: see load.make_known."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    def all_answer():
        # A client that was told of no such topic does not ask again for a while.
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "log_level": 0})
        try:
            return all(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=5) for p in range(partitions))
        except KafkaException:
            return False
        finally:
            consumer.close()
    eventually(all_answer, 30, f"that each partition of {topic} has a leader that answers")


def partitions_of(cluster, topic):
    """Of a topic that exists; a broker may hear of it a little after its creation was answered."""
    client = admin(cluster)
    return eventually(lambda: client.list_topics(topic, timeout=20).topics[topic].partitions, 20, f"{topic} in the metadata")
