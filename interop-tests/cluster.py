"""Clusters of several nodes, klamm and Apache Kafka in any mixture, and a load whose every record is checked."""
import itertools
import pathlib
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

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


def partitions_of(cluster, topic):
    """Of a topic that exists; a broker may hear of it a little after its creation was answered."""
    client = admin(cluster)
    return eventually(lambda: client.list_topics(topic, timeout=20).topics[topic].partitions, 20, f"{topic} in the metadata")


def make_known(producer, topic, partitions, value, told):
    """Writes a first record, `value()`, to each partition and waits until all are acknowledged.

    A leader takes whatever sequence comes first from a producer that it does not know. When it refuses a producer's very
    first batch, as it does before it has heard of a new topic, and takes the second one, librdkafka counts both as written.
    """
    for partition in range(partitions):
        producer.produce(topic, value(), partition=partition, on_delivery=told)
        assert producer.flush(120) == 0, f"partition {partition} takes no first record"


class Load:
    """An idempotent producer with acks=all that writes numbered records until it is stopped."""

    def __init__(self, cluster, topic):
        from confluent_kafka import Producer
        self.cluster, self.topic = cluster, topic
        self.acked, self.failed = {}, []
        self.gap, self.last = 0.0, {}  # the longest time that a partition acknowledged nothing
        self.stopping = False
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True,
                                  "linger.ms": 2, "delivery.timeout.ms": 120000, "retry.backoff.ms": 20,
                                  "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 0})
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()

    def told(self, error, message):
        if error is not None:
            self.failed.append(str(error))
            return
        now, partition = time.monotonic(), message.partition()
        self.gap, self.last[partition] = max(self.gap, now - self.last.get(partition, now)), now
        offset = message.offset()
        self.acked[int(message.value())] = (message.partition(), -1 if offset is None or offset < 0 else offset)

    def run(self):
        numbers = itertools.count()
        make_known(self.producer, self.topic, len(partitions_of(self.cluster, self.topic)), lambda: str(next(numbers)), self.told)
        while not self.stopping:
            self.producer.produce(self.topic, str(next(numbers)), on_delivery=self.told)
            self.producer.poll(0)
            time.sleep(0.001)
        self.producer.flush(120)

    def check(self):
        """Everything acknowledged is there once, where the acknowledgement said; nothing failed; order is kept."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
        assert not self.failed, f"{len(self.failed)} records were refused: {self.failed[0]}"
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "check", "enable.auto.commit": False,
                             "log_level": 0})
        count = len(partitions_of(self.cluster, self.topic))
        found = {}
        for index in range(count):
            consumer.assign([TopicPartition(self.topic, index, OFFSET_BEGINNING)])
            _, end = consumer.get_watermark_offsets(TopicPartition(self.topic, index), timeout=30)
            last, deadline = -1, time.monotonic() + 60
            while last + 1 < end:
                assert time.monotonic() < deadline, f"partition {index} ends at {end}, but only {last} was read"
                message = consumer.poll(1)
                if message is None or message.error():
                    continue
                last, number = message.offset(), int(message.value())
                assert number not in found, f"record {number} is there twice: {found[number]} and {(index, last)}"
                found[number] = (index, last)
        consumer.close()
        # Of a batch that timed out and that a later one's success acknowledged, librdkafka tells no offset.
        lost = {n: (partition, offset, found.get(n)) for n, (partition, offset) in self.acked.items()
                if n not in found or found[n][0] != partition or offset not in (found[n][1], -1)}
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged records are lost or elsewhere " \
                         f"(record: partition, offset, where it is): {dict(list(lost.items())[:8])}"
        return len(self.acked)
