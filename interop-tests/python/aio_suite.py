"""aiokafka, a client of its own in Python, against the broker."""
import asyncio
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # noqa: E402
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: E402
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced, TopicAlreadyExistsError  # noqa: E402

from tap import BOOTSTRAP, ctl, equal, main, name, test  # noqa: E402


def asynchronous(function):
    """A test whose body is a coroutine; it has two minutes."""
    def run():
        asyncio.run(asyncio.wait_for(function(), 120))
    run.__name__ = function.__name__
    return test(run)


async def create(topic, partitions=1, configs=None):
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, partitions, int(os.environ.get("REPLICAS", "1")), topic_configs=configs or {})])
        return answer.topic_errors[0][1]
    finally:
        await admin.close()


def producer(**options):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **options)


def consumer(*topics, **options):
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    return AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, **options)


async def read(topic, count, **options):
    async with consumer(topic, **options) as reader:
        return [await asyncio.wait_for(reader.getone(), 30) for _ in range(count)]


@asynchronous
async def topics_are_created_once():
    topic = name()
    equal(await create(topic, 3), 0)
    equal(await create(topic, 3), TopicAlreadyExistsError.errno)


@asynchronous
async def every_compression_round_trips_keys_and_headers():
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        topic = name(str(codec))
        await create(topic)
        async with producer(compression_type=codec, linger_ms=20) as writer:
            await asyncio.gather(*[await writer.send(topic, b"v%d" % i * 50, key=b"k%d" % i, headers=[("n", b"%d" % i)])
                                   for i in range(200)])
        messages = await read(topic, 200)
        equal([(m.key, m.value, m.headers) for m in messages],
              [(b"k%d" % i, b"v%d" % i * 50, (("n", b"%d" % i),)) for i in range(200)], str(codec))


@asynchronous
async def a_record_too_large_is_refused_and_others_go_on():
    topic = name()
    await create(topic, 1, {"max.message.bytes": "2000"})
    async with producer() as writer:
        try:
            await writer.send_and_wait(topic, b"x" * 5000)
            raise AssertionError("it was taken")
        except MessageSizeTooLargeError:
            pass
        equal((await writer.send_and_wait(topic, b"small")).offset, 0, "offset")


@asynchronous
async def a_group_shares_partitions_and_resumes_over_a_kill():
    topic, group = name(), name("g")
    await create(topic, 4)
    async with producer() as writer:
        for i in range(100):
            await writer.send_and_wait(topic, b"%d" % i, partition=i % 4)
    options = {"group_id": group, "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}
    a, b = consumer(topic, **options), consumer(topic, **options)
    await asyncio.gather(a.start(), b.start())
    while (len(a.assignment()), len(b.assignment())) != (2, 2):
        await asyncio.sleep(0.05)
    seen = {}
    for reader in (a, b):
        while len([p for p in seen.values() if p in reader.assignment()]) < 30:
            m = await asyncio.wait_for(reader.getone(), 30)
            seen[m.value] = TopicPartition(m.topic, m.partition)
        await reader.commit()
    await asyncio.gather(a.stop(), b.stop())
    equal(len(seen), 60, "records read, each once,")
    ctl("kill")
    ctl("start")
    rest = {m.value for m in await read(topic, 40, **options)}
    equal(rest | set(seen), {b"%d" % i for i in range(100)}, "all that was read")


@asynchronous
async def nothing_is_lost_or_doubled_by_a_kill_under_an_idempotent_producer():
    topic = name()
    await create(topic)
    async with producer(enable_idempotence=True, linger_ms=2) as writer:
        sent = [await writer.send(topic, b"%d" % i) for i in range(500)]
        await sent[0]
        ctl("kill")
        ctl("start")
        sent += [await writer.send(topic, b"%d" % i) for i in range(500, 1000)]
        await asyncio.gather(*sent)
    equal([m.value for m in await read(topic, 1000)], [b"%d" % i for i in range(1000)], "the records")


@asynchronous
async def transactions_are_whole_or_not_seen():
    topic = name()
    await create(topic, 2)
    async with producer(transactional_id=name("x")) as writer:
        for round_ in range(10):
            try:
                async with writer.transaction():
                    for partition in range(2):
                        await writer.send_and_wait(topic, b"%d" % round_, partition=partition)
                    if round_ % 3 == 0:
                        raise LookupError
            except LookupError:
                pass
    whole = sorted(str(i).encode() for i in range(10) if i % 3 for _ in range(2))
    committed = await read(topic, len(whole), isolation_level="read_committed")
    equal(sorted(m.value for m in committed), whole, "what committed readers see")
    equal(len(await read(topic, 20)), 20, "what others see")


@asynchronous
async def a_copy_in_transactions_has_each_record_once_over_a_kill():
    source, target, group = name("in"), name("out"), name("g")
    await create(source)
    await create(target)
    async with producer() as writer:
        for i in range(100):
            await writer.send(source, b"%d" % i)

    async def copy(until):
        async with consumer(source, group_id=group, isolation_level="read_committed") as reader, \
                   producer(transactional_id=group) as writer:
            position = 0
            while position < until:
                batch = await reader.getmany(timeout_ms=500, max_records=7)
                for partition, messages in batch.items():
                    async with writer.transaction():
                        for m in messages:
                            await writer.send(target, m.value)
                        await writer.send_offsets_to_transaction({partition: messages[-1].offset + 1}, group)
                    position = messages[-1].offset + 1
    await copy(50)
    ctl("kill")
    ctl("start")
    await copy(100)
    copies = await read(target, 100, isolation_level="read_committed")
    equal([m.value for m in copies], [b"%d" % i for i in range(100)], "the copy")


@asynchronous
async def the_older_of_two_producers_of_one_name_is_fenced():
    topic, transactional = name(), name("x")
    await create(topic)
    async with producer() as plain:
        await plain.send_and_wait(topic, b"before")
    old, new = producer(transactional_id=transactional), producer(transactional_id=transactional)
    await old.start()
    await old.begin_transaction()
    await old.send_and_wait(topic, b"old")
    await new.start()
    try:
        await old.commit_transaction()
        raise AssertionError("the older one committed")
    except ProducerFenced:
        pass
    async with new.transaction():
        await new.send_and_wait(topic, b"new")
    for each in (old, new):
        try:
            await each.stop()
        except KafkaError:  # the fenced one has a batch that nobody takes
            pass
    equal([m.value for m in await read(topic, 2, isolation_level="read_committed")], [b"before", b"new"])


main()
