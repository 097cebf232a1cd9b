"""Three nodes of one kind: replication, loss of a leader, restarts one by one, groups, the quorum as the tools see it."""
import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from cluster import Cluster, admin, create_topic, partitions_of  # noqa: E402
from load import Load  # noqa: E402
from sharing import shared  # noqa: E402
from stock_tools import said  # noqa: E402
from tap import equal, eventually, main, name, test  # noqa: E402

KIND = os.environ["AGAINST"]


def all_in_sync(cluster, topic):
    return all(len(p.isrs) == 3 for p in partitions_of(cluster, topic).values())


def log_files(node, topic, index):
    folder = pathlib.Path(node.folder) / "data" / f"{topic}-{index}"
    return b"".join(f.read_bytes() for f in sorted(folder.glob("*.log")))


def same_on_all(cluster, topic, index):
    logs = {log_files(n, topic, index).rstrip(b"\0") for n in cluster.brokers}
    return len(logs) == 1 and logs.pop() != b""


@test
def every_replica_has_the_same_bytes():
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 3)
        with Load(cluster, topic) as load:
            time.sleep(2)
        assert load.check() > 100
        for index in range(3):
            eventually(lambda i=index: same_on_all(cluster, topic, i), 20, "that all replicas are equal")


@test
def a_killed_leader_loses_nothing_and_comes_back_into_the_isr():
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 3)
        eventually(lambda: all_in_sync(cluster, topic))
        with Load(cluster, topic) as load:
            time.sleep(1)
            leader = partitions_of(cluster, topic)[0].leader
            cluster.node(leader).kill()
            eventually(lambda: partitions_of(cluster, topic)[0].leader not in (-1, leader), 40, "a new leader")
            before = len(load.acked)
            eventually(lambda: len(load.acked) > before + 100, 40, "more acknowledgements")
            cluster.node(leader).start()
            eventually(lambda: all_in_sync(cluster, topic), 60, "the ISR of three")
        load.check()


@test
def restarts_one_by_one_disturb_no_producer():
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 3)
        eventually(lambda: all_in_sync(cluster, topic))
        with Load(cluster, topic) as load:
            for node in cluster.nodes:
                node.end(signal.SIGTERM)
                node.start()
                eventually(lambda: all_in_sync(cluster, topic), 60, "the ISR of three")
        load.check()


def goes_on_when_its_coordinator_is_killed(**protocol):
    from confluent_kafka import Consumer, Producer
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 1)
        producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
        for i in range(100):
            producer.produce(topic, str(i))
        producer.flush(30)

        def consumer():
            made = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g", "auto.offset.reset": "earliest",
                             "enable.auto.commit": False, "log_level": 0, **{k.replace("_", "."): v for k, v in protocol.items()}})
            made.subscribe([topic])
            return made

        def read(from_consumer, count):
            values = []
            deadline = time.monotonic() + 60
            while len(values) < count and time.monotonic() < deadline:
                message = from_consumer.poll(0.5)
                if message is not None and not message.error():
                    values.append(int(message.value()))
            return values

        first = consumer()
        equal(read(first, 40), list(range(40)), "what was read first")
        first.commit(asynchronous=False)
        first.close()
        client = admin(cluster)
        described = client.describe_consumer_groups(["g"])["g"].result(30)
        cluster.node(described.coordinator.id).kill()
        second = consumer()
        equal(read(second, 60), list(range(40, 100)), "what was read after the kill")
        second.close()


@test
def a_group_goes_on_where_it_was_when_its_coordinator_is_killed():
    goes_on_when_its_coordinator_is_killed(session_timeout_ms=6000)


@test
def so_does_one_of_the_consumer_protocol():
    goes_on_when_its_coordinator_is_killed(group_protocol="consumer")


@test
def the_ends_of_transactions_wait_for_no_fetch_to_run_out():
    """What a follower's fetch acknowledges may have markers written to partitions that the same fetch has read already. With fetches
    that wait for their 500 ms then, this would take a minute."""
    from confluent_kafka import Producer
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 6)
        producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": name(), "linger.ms": 0, "log_level": 0})
        producer.init_transactions(60)
        began = time.monotonic()
        for _ in range(60):
            producer.begin_transaction()
            for partition in range(6):
                producer.produce(topic, b"x", partition=partition)
            producer.commit_transaction(60)
        assert time.monotonic() - began < 25, f"60 transactions took {time.monotonic() - began:.1f} s"


@test
def a_share_group_outlives_the_leaders_and_coordinators_that_it_has():
    with Cluster([KIND] * 3) as cluster:
        def kill_each(load):
            for node in (1, 2, 3):
                cluster.node(node).kill()
                before = len(load.acked)
                eventually(lambda: len(load.acked) > before + 500, 60, "more acknowledgements")
                cluster.node(node).start()
        shared(cluster, kill_each)


@test
def any_broker_hands_requests_on_to_the_controller():
    from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
    with Cluster([KIND] * 3) as cluster:
        for broker in cluster.brokers:
            client, topic = AdminClient({"bootstrap.servers": broker.address}), name()
            client.create_topics([NewTopic(topic, 2, 3)])[topic].result(30)
            client.create_partitions([NewPartitions(topic, 4)])[topic].result(30)
            eventually(lambda: len(partitions_of(cluster, topic)) == 4, 20, "four partitions")
            client.delete_topics([topic])[topic].result(30)


@test
def deleted_records_stay_deleted_when_another_replica_leads():
    from confluent_kafka import Consumer, TopicPartition
    with Cluster([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 1)
        with Load(cluster, topic) as load:
            eventually(lambda: len(load.acked) > 500, 30, "500 records")
        client = admin(cluster)
        low = client.delete_records([TopicPartition(topic, 0, 300)])[TopicPartition(topic, 0)].result(40).low_watermark
        equal(low, 300, "the low watermark")
        leader = partitions_of(cluster, topic)[0].leader
        cluster.node(leader).kill()
        eventually(lambda: partitions_of(cluster, topic)[0].leader not in (-1, leader), 40, "a new leader")
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g", "log_level": 0})
        equal(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[0], 300, "where the log begins")
        consumer.close()
        cluster.node(leader).start()


class Racks(Cluster):
    """Three nodes in three racks, whose leaders tell consumers of a nearer replica."""

    def more(self, index):
        return f"broker.rack=rack-{index + 1}\nreplica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n"


@test
def a_consumer_reads_from_the_replica_in_its_rack():
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
    with Racks([KIND] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 1)
        eventually(lambda: all_in_sync(cluster, topic), 30, "the ISR of three")
        with Load(cluster, topic) as load:
            time.sleep(1)
            leader = partitions_of(cluster, topic)[0].leader
            near = leader % 3 + 1
            seen, served = [], set()

            def told(text):
                partition = json.loads(text)["topics"].get(topic, {}).get("partitions", {}).get("0", {})
                served.add(partition.get("broker"))
            consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "near", "client.rack": f"rack-{near}",
                                 "statistics.interval.ms": 200, "stats_cb": told, "log_level": 0})
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

            def reads_near():
                served.clear()
                for _ in range(10):
                    seen.extend(m.offset() for m in consumer.consume(500, 0.1) if m.error() is None)
                return served == {near}
            eventually(reads_near, 30, f"that node {near} serves the consumer of its rack, not leader {leader}")
            before = len(seen)
            eventually(lambda: reads_near() and len(seen) > before + 100, 20, "more records from there")
        consumer.close()
        equal(seen, list(range(len(seen))), "the offsets in their order")
        load.check()


@test
def the_stock_tool_describes_the_quorum():
    with Cluster([KIND] * 3) as cluster:
        def describe(what):
            return said("org.apache.kafka.tools.MetadataQuorumCommand", "--bootstrap-server", cluster.bootstrap, "describe", what)
        status = describe("--status")
        assert "LeaderId:" in status and "CurrentVoters:" in status, status
        rows = [line.split() for line in describe("--replication").splitlines()[1:]]
        equal(sorted(row[0] for row in rows), ["1", "2", "3"], "the replicas")
        equal(sorted(row[-1] for row in rows), ["Follower", "Follower", "Leader"], "their roles")


main()
