"""Producers that write while brokers come and go, and what is found of their records afterwards."""
import itertools
import pathlib
import struct
import threading
import time

from cluster import partitions_of
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from history import History, faults

QUIET = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 300}


def make_known(producer, topic, partitions, value, told):
    """Writes a first record, `value()`, to each partition and waits until all are acknowledged.

    A leader takes whatever sequence comes first from a producer that it does not know. When it refuses a producer's very
    first batch, as it does before it has heard of a new topic, and takes the second one, librdkafka counts both as written.
    """
    for partition in range(partitions):
        producer.produce(topic, value(), partition=partition, on_delivery=told)
        assert producer.flush(120) == 0, f"partition {partition} takes no first record"


class Writer(threading.Thread):
    """An idempotent producer of librdkafka with acks=all that writes numbered records until it is stopped."""

    def __init__(self, bootstrap, topic, partitions, history, writer, per_second):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.history, self.failed, self.stopping = topic, partitions, history, [], False
        self.pause, self.values = 1 / per_second, (f"{writer}:{number}" for number in itertools.count())
        self.known = threading.Event()  # to the leaders of all partitions
        self.gap, self.last = 0.0, {}  # the longest time that a partition acknowledged nothing
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                                  "retry.backoff.ms": 50, "delivery.timeout.ms": 300000, "request.timeout.ms": 10000, **QUIET})

    def told(self, error, message):
        if error is not None:
            return self.failed.append(str(error))
        now, partition = time.monotonic(), message.partition()
        self.gap, self.last[partition] = max(self.gap, now - self.last.get(partition, now)), now
        # Of a batch that timed out and that a later one's success acknowledged, librdkafka tells no offset.
        offset = message.offset()
        self.history.ack(message.value().decode(), partition, -1 if offset is None or offset < 0 else offset)

    def value(self):
        value = next(self.values)
        self.history.written.add(value)
        return value

    def run(self):
        make_known(self.producer, self.topic, self.partitions, self.value, self.told)
        self.known.set()
        while not self.stopping:
            try:
                self.producer.produce(self.topic, self.value(), on_delivery=self.told)
            except BufferError:
                self.producer.poll(0.1)
            self.producer.poll(0)
            time.sleep(self.pause)

    def finish(self):
        """The number of records that it still holds in the end."""
        self.stopping = True
        self.join()
        return self.producer.flush(150)


class Load:
    """A writer at work for as long as this is entered."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic, self.history = cluster, topic, History()
        self.writer = Writer(cluster.bootstrap, topic, len(partitions_of(cluster, topic)), self.history, "load", 1000)

    @property
    def acked(self):
        return self.history.acked

    @property
    def gap(self):
        return self.writer.gap

    def __enter__(self):
        self.writer.start()
        assert self.writer.known.wait(120), f"the leaders of {self.topic} take no records"
        return self

    def __exit__(self, *_):
        self.held = self.writer.finish()

    def check(self):
        """Everything acknowledged is there once, where the acknowledgement said; nothing failed; order is kept."""
        failed = self.writer.failed
        assert not failed, f"{len(failed)} records were refused: {failed[0]}"
        assert self.held == 0, f"{self.held} records were never acknowledged"
        final = everything(self.cluster.bootstrap, self.topic, self.writer.partitions)
        wrong = faults(self.history, final, producers(self.cluster, self.topic))
        assert not wrong, f"{len(wrong)} faults among {len(self.acked)} acknowledged records: {wrong[:8]}"
        return len(self.acked)


def everything(bootstrap, topic, partitions, isolation="read_uncommitted", seconds=120):
    """What a cluster holds when nobody writes any more: partition -> offset -> value. With all transactions ended, readers of
    committed records come to the end too."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "final", "enable.auto.commit": False,
                         "enable.partition.eof": True, "isolation.level": isolation, **QUIET})
    final = {p: {} for p in range(partitions)}
    deadline = time.monotonic() + seconds
    for p in range(partitions):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=60)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING)])
        reached = -1
        while reached < end:
            assert time.monotonic() < deadline, f"partition {p} ends at {end}, but only {reached} was reached"
            for message in consumer.consume(2000, 1):
                if message.error() is None:
                    final[p][message.offset()] = message.value().decode()
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    reached = message.offset()
    consumer.close()
    return final


def producers(cluster, topic):
    """Who wrote what, as the headers of the batches in the leaders' files have it: (partition, offset) -> (producer id, epoch)."""
    written = {}
    for partition, told in partitions_of(cluster, topic).items():
        for file in pathlib.Path(cluster.node(told.leader).folder).glob(f"*/{topic}-{partition}/*.log"):
            data, at = file.read_bytes(), 0
            while at + 61 <= len(data):
                base, length, delta, *producer = struct.unpack_from(">qi11xi16xqh", data, at)
                if length == 0:  # preallocated
                    break
                written.update(((partition, offset), tuple(producer)) for offset in range(base, base + delta + 1))
                at += 12 + length
    assert written, f"no file of {topic} was found"
    return written
