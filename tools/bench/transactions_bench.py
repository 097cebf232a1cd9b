"""Transactions a second: librdkafka's producers, each transaction with a record for each of three partitions."""
import threading
import time

PARTITIONS = 3


def run(address, topic, index, until, took):
    from confluent_kafka import Producer
    producer = Producer({"bootstrap.servers": address, "transactional.id": f"{topic}-{index}", "linger.ms": 0, "log_level": 0})
    producer.init_transactions(30)
    while time.monotonic() < until:
        began = time.monotonic()
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            producer.produce(topic, b"x" * 100, partition=partition)
        producer.commit_transaction(30)
        took.append(time.monotonic() - began)


def transactions(broker, bench, producers, seconds, note):
    topic = f"transactions{producers}"
    bench.create(broker.port, topic, PARTITIONS)
    for lasts, noting in ((2, False), (seconds, True)):
        took, before = [], bench.cpu(broker.pid)
        until = time.monotonic() + lasts
        threads = [threading.Thread(target=run, args=(broker.address, topic, i, until, took)) for i in range(producers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if noting:
            who = f"{producers} producer{'s' if producers > 1 else ''}"
            note(f"transactions/s ({who})", len(took) / seconds)
            note(f"transaction p99, ms ({who})", sorted(took)[len(took) * 99 // 100] * 1000)
            note(f"CPU ms per transaction ({who})", (bench.cpu(broker.pid) - before) * 1000 / len(took))


def measure(kind, bench, brokers, quick, note):
    broker = brokers.Broker(kind)
    broker.start()
    try:
        for producers in (1, 16):
            transactions(broker, bench, producers, 3 if quick else 10, note)
    finally:
        broker.kill()
