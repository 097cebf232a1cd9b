"""Clients that copy a topic in transactions and come back when they are killed, and a judge of their copies."""
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from broker import LIBS
from cluster import create_topic, partitions_of
from tap import eventually, name

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 3000
JAVA = ["java", "-Xmx192m", "-cp", f"{HERE}/java/target/classes:{LIBS}/*", "klamm.interop.Copier"]
COPIERS = {"java": [*JAVA, "classic"], "java-consumer": [*JAVA, "consumer"],
           "rdkafka": [sys.executable, str(HERE / "python/copier.py")]}


class Copying:
    """A client that copies `source` to a topic of its own, and comes back when it was killed."""

    def __init__(self, client, bootstrap, source):
        self.client, self.topic = client, f"{source}-{client}"
        self.command = [*COPIERS[client], bootstrap, source, self.topic, f"copy-{client}"]
        self.log = tempfile.NamedTemporaryFile(prefix=f"klamm-copier-{client}-", suffix=".log")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def tail(self):
        return pathlib.Path(self.log.name).read_text()[-1500:]


def committed(bootstrap, topic, partitions):
    """The values that a reader of committed records sees, up to the last stable offsets."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name("reader"), "isolation.level": "read_committed",
                         "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    values, ended, deadline = [], set(), time.monotonic() + 60
    while len(ended) < partitions and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.5):
            if message.error():
                ended.add(message.partition())
            else:
                values.append(message.value().decode())
    consumer.close()
    return values


def write(bootstrap, topic):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "max.in.flight": 1,
                         "log_level": 0})
    for i in range(COUNT):
        producer.produce(topic, str(i), key=str(i % 100), partition=i % 3)
    assert producer.flush(60) == 0


def copied(cluster, copies, trouble):
    """Whether each copy ends up with each record once, with `trouble(copies)` on the way."""
    source = name()
    create_topic(cluster, source, 3)
    write(cluster.bootstrap, source)
    running = []
    try:
        for client in copies:
            create_topic(cluster, f"{source}-{client}", 3)
            running.append(Copying(client, cluster.bootstrap, source))
        trouble(running)
        for copy in running:
            whole = {str(i) for i in range(COUNT)}
            try:
                eventually(lambda c=copy: set(committed(cluster.bootstrap, c.topic, 3)) >= whole, 120, f"the end of the copy by {copy.client}")
            except AssertionError as late:
                raise AssertionError(f"{late}; it said: {copy.tail()}") from None
        for copy in running:
            copy.kill()
        for copy in running:
            values = committed(cluster.bootstrap, copy.topic, 3)
            twice = sorted({v for v in values if values.count(v) > 1})
            assert not twice and len(values) == COUNT, f"{copy.client}: {len(values)} records, {len(twice)} of them twice: {twice[:8]}"
    finally:
        for copy in running:
            copy.kill()


def progress(cluster, copy, more=100):
    """Waits until a copy has come on by some records."""
    before = len(committed(cluster.bootstrap, copy.topic, 3))
    try:
        eventually(lambda: len(committed(cluster.bootstrap, copy.topic, 3)) >= min(before + more, COUNT), 90, f"progress of {copy.client}")
    except AssertionError as late:
        raise AssertionError(f"{late}; it said: {copy.tail()}") from None


def kill_each_in_turn(cluster, copies, victims):
    """Kills a node and a copying client, again and again; both come back."""
    for victim in victims:
        struck, other = copies[victim % len(copies)], copies[(victim + 1) % len(copies)]
        progress(cluster, struck)
        cluster.node(victim).kill()
        struck.kill()
        struck.start()
        progress(cluster, other)
        cluster.node(victim).start()
        eventually(lambda: all(len(p.isrs) == 3 for p in partitions_of(cluster, copies[0].topic).values()), 90, "the ISR of three")
