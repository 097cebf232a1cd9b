"""confluent-kafka (the newest librdkafka) against the broker."""
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic  # noqa: E402

from cluster import await_leaders  # noqa: E402
from tap import BOOTSTRAP, ctl, equal, eventually, main, name, test  # noqa: E402

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})  # must outlive the futures that it gives


def admin():
    return ADMIN


def create(topic, partitions=1, config=None):
    admin().create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)
    await_leaders(BOOTSTRAP, topic, partitions)


def producer(**config):
    return Producer({"bootstrap.servers": BOOTSTRAP, "message.timeout.ms": 30000, **{k.replace("_", "."): v for k, v in config.items()}})


def produce(topic, values, **config):
    reports = []
    p = producer(**config)
    for i, value in enumerate(values):
        p.produce(topic, value, key=f"k{i}", on_delivery=lambda e, m: reports.append((e, m)))
        p.poll(0)
    equal(p.flush(60), 0, "messages left")
    errors = [str(e) for e, _ in reports if e]
    equal(errors, [], "delivery errors")
    return reports


def consumer(group, **config):
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "session.timeout.ms": 10000, **{k.replace("_", "."): v for k, v in config.items()}})


def drain(c, count, seconds=30):
    messages = []
    end = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < end:
        message = c.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        messages.append(message)
    equal(len(messages), count, "messages read")
    return messages


def read_all(topic, partitions, count, **config):
    c = consumer(name("g"), **config)
    c.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    messages = drain(c, count)
    c.close()
    return messages


@test
def creates_describes_grows_and_deletes_a_topic():
    topic = name()
    create(topic, 3, {"retention.ms": "5000"})
    a = admin()
    equal(len(a.list_topics(topic, 10).topics[topic].partitions), 3, "partitions")
    entry = a.describe_configs([ConfigResource("topic", topic)])
    config = list(entry.values())[0].result(10)
    equal(config["retention.ms"].value, "5000", "retention.ms")
    equal(config["segment.bytes"].value, "1073741824", "segment.bytes")
    a.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    eventually(lambda: len(a.list_topics(topic, 10).topics[topic].partitions) == 5)
    try:
        create(topic)
        raise AssertionError("the topic was created twice")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    a.delete_topics([topic])[topic].result(10)
    eventually(lambda: topic not in a.list_topics(timeout=10).topics)


@test
def bad_topics_get_kafkas_errors():
    for topic, code in (("a/b", KafkaError.TOPIC_EXCEPTION), ("..", KafkaError.TOPIC_EXCEPTION), ("x" * 250, KafkaError.TOPIC_EXCEPTION)):
        try:
            create(topic)
            raise AssertionError(f"{topic} was created")
        except KafkaException as error:
            equal(error.args[0].code(), code, topic)
    try:
        create(name(), 1, {"retention.ms": "soon"})
        raise AssertionError("a bad config was taken")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.INVALID_CONFIG)


@test
def every_compression_round_trips_keys_headers_and_timestamps():
    for codec in CODECS:
        topic = name(codec)
        create(topic)
        p = producer(compression_type=codec, linger_ms=50)
        now = int(time.time() * 1000)
        for i in range(500):
            p.produce(topic, b"v%d" % i * 20, key=None if i % 3 == 0 else f"k{i}", timestamp=now - 1000 + i,
                      headers=[("h", b"1"), ("n", None)] if i % 2 else None)
        equal(p.flush(30), 0)
        messages = read_all(topic, 1, 500)
        for i, m in enumerate(messages):
            equal(m.value(), b"v%d" % i * 20)
            equal(m.key(), None if i % 3 == 0 else b"k%d" % i)
            equal(m.timestamp()[1], now - 1000 + i)
            equal(m.headers(), [("h", b"1"), ("n", None)] if i % 2 else None)
            equal(m.offset(), i)


@test
def offsets_are_found_by_time():
    topic = name()
    create(topic)
    base = int(time.time() * 1000) - 100000
    p = producer()
    for i in range(100):
        p.produce(topic, b"x", timestamp=base + i * 1000)
        p.flush(10)
    c = consumer(name("g"))
    found = c.offsets_for_times([TopicPartition(topic, 0, base + 41500)], 10)
    equal(found[0].offset, 42)
    equal(c.offsets_for_times([TopicPartition(topic, 0, base + 10**7)], 10)[0].offset, -1)
    equal(c.get_watermark_offsets(TopicPartition(topic, 0), 10), (0, 100))
    c.assign([TopicPartition(topic, 0, 0)])
    drain(c, 1)
    c.seek(found[0])
    equal(drain(c, 58)[0].offset(), 42, "the first record after a seek by time")
    c.close()


def resumes_where_it_committed(consumer):
    for action in ("stop", "kill"):
        topic, group = name(), name("g")
        create(topic, 2)
        produce(topic, [b"%d" % i for i in range(100)])
        c = consumer(group)
        c.subscribe([topic])
        first = drain(c, 40)
        c.commit(message=None, asynchronous=False)
        c.close()
        ctl(action)
        ctl("start")
        c = consumer(group)
        c.subscribe([topic])
        second = drain(c, 60)
        c.close()
        equal(sorted(int(m.value()) for m in first + second), list(range(100)), action)


def members_share_and_one_leaves(consumer):
    topic, group = name(), name("g")
    create(topic, 4)
    a, b = consumer(group), consumer(group)
    a.subscribe([topic])
    b.subscribe([topic])

    def both():
        a.poll(0.1)
        b.poll(0.1)
        return len(a.assignment()) == 2 and len(b.assignment()) == 2
    eventually(both, 40, "an even share")
    b.close()

    def one():
        a.poll(0.1)
        return len(a.assignment()) == 4
    eventually(one, 40, "the whole for the one left")
    groups = admin().list_consumer_groups().result(10)
    assert any(g.group_id == group for g in groups.valid)
    described = admin().describe_consumer_groups([group])[group].result(10)
    equal(len(described.members), 1, "members")
    a.close()
    admin().delete_consumer_groups([group])[group].result(10)


def new_consumer(group):
    """Of the consumer protocol (KIP-848)."""
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "group.protocol": "consumer", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False})


@test
def a_group_resumes_where_it_committed_over_a_clean_restart_and_a_kill():
    resumes_where_it_committed(consumer)


@test
def so_does_one_of_the_consumer_protocol():
    resumes_where_it_committed(new_consumer)


@test
def two_members_share_and_one_leaves():
    members_share_and_one_leaves(consumer)


@test
def two_members_of_the_consumer_protocol_share_and_one_leaves():
    members_share_and_one_leaves(new_consumer)


@test
def an_idempotent_producer_writes_each_record_once():
    topic = name()
    create(topic)
    produce(topic, [b"%d" % i for i in range(5000)], enable_idempotence=True)
    equal([int(m.value()) for m in read_all(topic, 1, 5000)], list(range(5000)))


@test
def a_record_too_large_is_refused_and_others_go_on():
    topic = name()
    create(topic, 1, {"max.message.bytes": "2000"})
    p = producer(message_max_bytes=10000000)
    reports = []
    p.produce(topic, b"x" * 5000, on_delivery=lambda e, m: reports.append(e))
    p.flush(20)
    equal(reports[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
    produce(topic, [b"small"])


@test
def an_unknown_topic_is_unknown():
    p = producer(allow_auto_create_topics=False)
    metadata = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "x", "allow.auto.create.topics": False}).list_topics(name("nope"), 10)
    equal(list(metadata.topics.values())[0].error.code(), KafkaError.UNKNOWN_TOPIC_OR_PART)
    del p


@test
def nothing_acknowledged_is_lost_by_a_kill_in_the_middle():
    topic = name()
    create(topic, 3)
    acknowledged = set()
    # With more on their way librdkafka may write a batch twice: what it has not heard of when a broker refuses the sequence behind it.
    p = producer(enable_idempotence=True, linger_ms=5, max_in_flight=1)
    done = threading.Event()

    def run():
        i = 0
        while not done.is_set():
            try:
                p.produce(topic, b"%d" % i, on_delivery=lambda e, m: acknowledged.add(int(m.value())) if e is None else None)
                i += 1
            except BufferError:  # the broker takes its time to come back
                p.poll(0.1)
                continue
            p.poll(0)
            if i % 50 == 0:
                time.sleep(0.002)
    writer = threading.Thread(target=run)
    writer.start()
    eventually(lambda: len(acknowledged) > 500)
    ctl("kill")
    ctl("start")
    before = len(acknowledged)
    eventually(lambda: len(acknowledged) > before + 500)
    done.set()
    writer.join()
    p.flush(30)
    c = consumer(name("g"))
    ends = {q: c.get_watermark_offsets(TopicPartition(topic, q), 10)[1] for q in range(3)}
    messages = read_all(topic, 3, sum(ends.values()))
    values = [int(m.value()) for m in messages]
    equal(acknowledged - set(values), set(), "acknowledged and lost")
    equal(len(values), len(set(values)), "records, without duplicates,")


@test
def deleted_records_stay_deleted():
    topic = name()
    create(topic)
    produce(topic, [b"%d" % i for i in range(100)])
    result = admin().delete_records([TopicPartition(topic, 0, 60)])
    list(result.values())[0].result(10)
    c = consumer(name("g"))
    equal(c.get_watermark_offsets(TopicPartition(topic, 0), 10), (60, 100))
    c.close()


@test
def a_compacted_topic_keeps_the_newest_of_each_key():
    topic = name()
    create(topic, 1, {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01"})
    newest = {}
    for round_ in range(3):
        p = producer(compression_type=CODECS[round_ + 1], linger_ms=50, enable_idempotence=True)
        for i in range(3000):
            key, value = b"k%d" % (i % 40), b"%d-%d-" % (round_, i) + random.randbytes(700)
            p.produce(topic, value, key=key)
            newest[key] = value
        equal(p.flush(60), 0)
    for codec in ("gzip", "zstd"):
        ctl("stop" if codec == "gzip" else "kill")
        ctl("start")
    last = [random.randbytes(900) for _ in range(1200)]  # more than a segment, so that what is before them is closed
    produce(topic, last)
    newest.update({b"k%d" % i: value for i, value in enumerate(last)})

    def read():
        c = consumer(name("g"))
        c.assign([TopicPartition(topic, 0, 0)])
        low, high = c.get_watermark_offsets(TopicPartition(topic, 0), 10)
        messages = []
        while not messages or messages[-1].offset() < high - 1:
            message = c.poll(5)
            assert message is not None and not message.error(), "the end does not come"
            messages.append(message)
        c.close()
        return messages
    eventually(lambda: len(read()) < 3000, 60, "the compaction")
    messages = read()
    offsets = [m.offset() for m in messages]
    equal(offsets, sorted(set(offsets)), "offsets")
    left = {m.key(): m.value() for m in messages}
    for key, value in newest.items():
        assert left[key] == value, f"{key} is not what was written last"


@test
def a_long_poll_delivers_at_once():
    topic = name()
    create(topic)
    c = consumer(name("g"), fetch_wait_max_ms=10000)
    c.assign([TopicPartition(topic, 0, 0)])
    c.poll(0.5)
    started = time.monotonic()
    produce(topic, [b"x"])
    drain(c, 1)
    assert time.monotonic() - started < 5, "the record came with the end of the poll, not when it was written"
    c.close()


main()
