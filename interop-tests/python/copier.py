"""Copies a topic to another one, each record exactly once, until it is killed: librdkafka's consumer and transactions.

Arguments: bootstrap servers, input topic, output topic, the name of the group and of the transactional id.
"""
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer


def copy(bootstrap, source, target, name):
    common = {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "log_level": 0}
    consumer = Consumer({**common, "group.id": name, "isolation.level": "read_committed", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "session.timeout.ms": 6000})
    producer = Producer({**common, "transactional.id": name, "linger.ms": 0, "transaction.timeout.ms": 10000})
    try:
        producer.init_transactions(20)
        consumer.subscribe([source])
        while True:
            messages = [m for m in consumer.consume(20, 0.2) if not m.error()]
            if not messages:
                continue
            producer.begin_transaction()
            for message in messages:
                producer.produce(target, message.value(), key=message.key())
            producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 20)
            producer.commit_transaction(20)
    finally:
        consumer.close()


while True:
    try:
        copy(*sys.argv[1:])
    except KafkaException as problem:
        # Whatever was open is aborted when the next life begins.
        print("begins again:", problem, file=sys.stderr, flush=True)
        time.sleep(0.1)
