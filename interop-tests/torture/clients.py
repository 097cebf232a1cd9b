"""Clients that write and read while a cluster is in trouble, and note what they are told: librdkafka's, and Java's."""
import itertools
import random
import subprocess
import threading
import time

from broker import LIBS
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from history import ABORTED, COMMITTED, UNKNOWN
from load import QUIET

PER_SECOND = 400


class JavaClient:
    """A program on kafka-clients that goes on until its input ends, and tells lines."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen(["java", "-Xmx192m", "-cp", f"{LIBS.parent}/classes:{LIBS}/*", f"klamm.interop.{program}",
                                         *map(str, arguments)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def start(self):
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            self.take(line.strip())

    def finish(self):
        """Ends at the latest when the producer's delivery.timeout.ms is over for what it still holds."""
        self.process.stdin.close()
        try:
            self.process.wait(330)
        except subprocess.TimeoutExpired:
            stacks = subprocess.run(["jcmd", str(self.process.pid), "Thread.print"], capture_output=True, text=True, check=False).stdout
            raise AssertionError(f"the producer does not end; its threads:\n{stacks}") from None
        self.thread.join()
        assert self.process.returncode == 0, f"the producer ended with {self.process.returncode}"


class JavaWriter(JavaClient):
    """The same by kafka-clients; it tells a line for each acknowledgement."""

    def __init__(self, bootstrap, topic, history, writer, in_flight):
        super().__init__("Writer", bootstrap, topic, writer, PER_SECOND, in_flight)
        self.history, self.failed = history, []

    def take(self, line):
        what, value, *rest = line.split(maxsplit=3)
        if what == "sent":
            self.history.written.add(value)
        elif what == "acked":
            self.history.ack(value, int(rest[0]), int(rest[1]))
        else:
            self.failed.append(line)


class Transactor(threading.Thread):
    """Writes transactions over all partitions by librdkafka, commits most of them, and begins anew with another producer of the
    same transactional id when that is all that helps."""

    def __init__(self, bootstrap, topic, partitions, history, writer):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.history, self.writer, self.stopping = topic, partitions, history, writer, False
        self.config = {"bootstrap.servers": bootstrap, "transactional.id": writer, "transaction.timeout.ms": 20000, "linger.ms": 1,
                       "retry.backoff.ms": 50, "request.timeout.ms": 10000, "message.timeout.ms": 19000, **QUIET}
        self.chance = random.Random(writer)

    @staticmethod
    def persist(call):
        """Calls until there is an answer; the error if it cannot be had by calling again."""
        while True:
            try:
                return call(10) and None
            except KafkaException as problem:
                error = problem.args[0]
                if not error.retriable():
                    return error

    def producer(self):
        while True:
            producer = Producer(self.config)
            if self.persist(producer.init_transactions) is None:
                return producer

    def transact(self, producer, number):
        """One transaction; False when the producer is of no use any more."""
        wanted = ABORTED if self.chance.random() < 0.2 else COMMITTED
        values = [f"{self.writer}:{number}:{index}" for index in range(self.chance.randint(1, 8))]
        self.history.values[self.writer, number] = values
        try:
            producer.begin_transaction()
            for value in values:
                producer.produce(self.topic, value, partition=self.chance.randrange(self.partitions))
                producer.poll(0)
        except (KafkaException, BufferError):
            wanted = ABORTED
        error = self.persist(producer.commit_transaction if wanted == COMMITTED else producer.abort_transaction)
        if error is None:
            self.history.outcomes[self.writer, number] = wanted
            return True
        if error.txn_requires_abort() and self.persist(producer.abort_transaction) is None:
            # Whether an end that was asked for before has come first was not told.
            self.history.outcomes[self.writer, number] = ABORTED if wanted == ABORTED else UNKNOWN
            return True
        return False

    def run(self):
        producer = self.producer()
        for number in itertools.count():
            if self.stopping:
                return
            if not self.transact(producer, number):
                producer = self.producer()

    def finish(self):
        self.stopping = True
        self.join()


class JavaTransactor(JavaClient):
    """The same by kafka-clients."""

    def __init__(self, bootstrap, topic, partitions, history, writer):
        super().__init__("Transactor", bootstrap, topic, partitions, writer)
        self.history, self.writer = history, writer

    def take(self, line):
        what, number, *count = line.split()
        transaction = self.writer, int(number)
        if what == "begin":
            self.history.values[transaction] = [f"{self.writer}:{number}:{index}" for index in range(int(count[0]))]
        else:
            self.history.outcomes[transaction] = what


class Reader(threading.Thread):
    """Reads all partitions from the beginning, as far as it comes."""

    def __init__(self, bootstrap, topic, partitions, history, isolation="read_uncommitted"):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.history, self.stopping = topic, partitions, history, False
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "torture", "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest", "isolation.level": isolation, **QUIET})

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
