"""Clients that write and read while a cluster is in trouble, and note what they are told: librdkafka's, and Java's."""
import itertools
import subprocess
import threading
import time

from broker import LIBS
from cluster import make_known
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

QUIET = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 300}
PER_SECOND = 400


class Writer(threading.Thread):
    """An idempotent producer of librdkafka with acks=all."""

    def __init__(self, bootstrap, topic, partitions, history, writer):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.history, self.failed, self.stopping = topic, partitions, history, [], False
        self.values = (f"{writer}:{number}" for number in itertools.count())
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                                  "retry.backoff.ms": 50, "delivery.timeout.ms": 300000, "request.timeout.ms": 10000, **QUIET})

    def told(self, error, message):
        if error is not None:
            return self.failed.append(str(error))
        # Of a batch that timed out and that a later one's success acknowledged, librdkafka tells no offset.
        offset = message.offset()
        self.history.ack(message.value().decode(), message.partition(), -1 if offset is None or offset < 0 else offset)

    def value(self):
        value = next(self.values)
        self.history.written.add(value)
        return value

    def run(self):
        make_known(self.producer, self.topic, self.partitions, self.value, self.told)
        while not self.stopping:
            try:
                self.producer.produce(self.topic, self.value(), on_delivery=self.told)
            except BufferError:
                self.producer.poll(0.1)
            self.producer.poll(0)
            time.sleep(1 / PER_SECOND)

    def finish(self):
        self.stopping = True
        self.join()
        return self.producer.flush(150)


class JavaWriter:
    """The same by kafka-clients; it tells a line for each acknowledgement."""

    def __init__(self, bootstrap, topic, history, writer, in_flight):
        self.history, self.failed = history, []
        self.process = subprocess.Popen(["java", "-Xmx192m", "-cp", f"{LIBS.parent}/classes:{LIBS}/*", "klamm.interop.Writer",
                                         bootstrap, topic, writer, str(PER_SECOND), str(in_flight)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def start(self):
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            what, value, *rest = line.split(maxsplit=3)
            if what == "sent":
                self.history.written.add(value)
            elif what == "acked":
                self.history.ack(value, int(rest[0]), int(rest[1]))
            else:
                self.failed.append(line.strip())

    def finish(self):
        """Ends at the latest when the producer's delivery.timeout.ms is over for what it still holds."""
        self.process.stdin.close()
        try:
            self.process.wait(330)
        except subprocess.TimeoutExpired:
            stacks = subprocess.run(["jcmd", str(self.process.pid), "Thread.print"], capture_output=True, text=True, check=False).stdout
            raise AssertionError(f"the producer does not end; its threads:\n{stacks}") from None
        self.thread.join()


class Reader(threading.Thread):
    """Reads all partitions from the beginning, as far as it comes."""

    def __init__(self, bootstrap, topic, partitions, history):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.history, self.stopping = topic, partitions, history, False
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "torture", "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest", **QUIET})

    def run(self):
        self.consumer.assign([TopicPartition(self.topic, p, OFFSET_BEGINNING) for p in range(self.partitions)])
        while not self.stopping:
            for message in self.consumer.consume(500, 0.2):
                if message.error() is None:
                    self.history.see(message.partition(), message.offset(), message.value().decode())

    def finish(self):
        self.stopping = True
        self.join()
        self.consumer.close()


def everything(bootstrap, topic, partitions, seconds=120):
    """What a cluster holds: partition -> offset -> value."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "final", "enable.auto.commit": False, **QUIET})
    final = {p: {} for p in range(partitions)}
    deadline = time.monotonic() + seconds
    for p in range(partitions):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=60)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING)])
        last = -1
        while last + 1 < end:
            assert time.monotonic() < deadline, f"partition {p} ends at {end}, but only {last} was read"
            for message in consumer.consume(2000, 1):
                if message.error() is None:
                    last = message.offset()
                    final[p][last] = message.value().decode()
    consumer.close()
    return final
