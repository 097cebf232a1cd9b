"""klamm and Apache Kafka in one cluster: as brokers, as controllers, and one taking the other's place under load."""
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from cluster import Cluster, create_topic, partitions_of  # noqa: E402
from load import Load  # noqa: E402
from copying import copied, kill_each_in_turn  # noqa: E402
from sharing import shared  # noqa: E402
from tap import eventually, main, name, test  # noqa: E402


def all_in_sync(cluster, topic):
    return all(len(p.isrs) == 3 for p in partitions_of(cluster, topic).values())


def loses_nothing_when_nodes_are_killed(cluster, victims):
    """Kills a node after the other under load; each comes back into the ISR."""
    topic = name()
    create_topic(cluster, topic, 3)
    eventually(lambda: all_in_sync(cluster, topic), 30, "the ISR of three")
    with Load(cluster, topic) as load:
        for victim in victims:
            time.sleep(1)
            cluster.node(victim).kill()
            before = len(load.acked)
            eventually(lambda: len(load.acked) > before + 100, 60, "more acknowledgements")
            cluster.node(victim).start()
            eventually(lambda: all_in_sync(cluster, topic), 90, "the ISR of three")
    assert load.check() > 100


@test
def brokers_of_both_kinds_under_controllers_of_kafka():
    with Cluster(["klamm", "kafka", "klamm"], controllers=["kafka"] * 3) as cluster:
        loses_nothing_when_nodes_are_killed(cluster, [1, 2])


@test
def controllers_of_both_kinds_lead_in_turn():
    with Cluster(["klamm", "kafka", "klamm"]) as cluster:
        # Whoever leads when it goes, another one takes over.
        loses_nothing_when_nodes_are_killed(cluster, [1, 2, 3])


@test
def transactions_over_brokers_of_both_kinds():
    with Cluster(["klamm", "kafka", "klamm"]) as cluster:
        copied(cluster, ["java", "rdkafka"], lambda copies: kill_each_in_turn(cluster, copies, [1, 2]))


@test
def share_groups_over_brokers_of_both_kinds():
    with Cluster(["klamm", "kafka", "klamm"]) as cluster:
        def kill_each(load):
            for node in (1, 2):
                cluster.node(node).kill()
                before = len(load.acked)
                eventually(lambda: len(load.acked) > before + 500, 60, "more acknowledgements")
                cluster.node(node).start()
        shared(cluster, kill_each)


@test
def a_cluster_of_kafka_becomes_one_of_klamm_and_back_under_load():
    with Cluster(["kafka"] * 3) as cluster:
        topic = name()
        create_topic(cluster, topic, 3)
        eventually(lambda: all_in_sync(cluster, topic), 30, "the ISR of three")
        with Load(cluster, topic) as load:
            for kind in ("klamm", "kafka"):
                for node in cluster.nodes:
                    node.end(signal.SIGTERM)
                    node.kind = kind
                    node.start()
                    eventually(lambda: all_in_sync(cluster, topic), 90, "the ISR of three")
        assert load.check() > 1000


main()
