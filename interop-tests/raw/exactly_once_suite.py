"""A topic is copied in transactions while brokers and copying clients are killed: each record is in the copy exactly once."""
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from broker import LIBS  # noqa: E402
from cluster import Cluster  # noqa: E402
from copying import copied, kill_each_in_turn, progress  # noqa: E402
from tap import main, test  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent.parent
KIND = os.environ["AGAINST"]


class Impatient(Cluster):
    """Members of the consumer protocol that have died are missed as soon as those of the classic one."""

    def more(self, _):
        return "group.consumer.min.session.timeout.ms=6000\ngroup.consumer.session.timeout.ms=6000\n"


@test
def over_the_death_of_the_broker_and_of_the_clients():
    with Cluster([KIND]) as cluster:
        def trouble(copies):
            for _ in range(2):
                progress(cluster, copies[0])
                for copy in copies:
                    copy.kill()
                    copy.start()
                progress(cluster, copies[-1])
                cluster.node(1).kill()
                cluster.node(1).start()
        copied(cluster, ["java", "rdkafka"], trouble)


@test
def over_the_death_of_each_node_of_three():
    with Impatient([KIND] * 3) as cluster:
        copied(cluster, ["java", "java-consumer", "rdkafka"], lambda copies: kill_each_in_turn(cluster, copies, random.sample([1, 2, 3], 3)))


def words_are_counted_over_the_death_of_a_node(program):
    with Cluster([KIND] * 3) as cluster:
        victim = cluster.node(random.choice([1, 2, 3]))
        try:
            done = subprocess.run(["java", "-Xmx256m", "-cp", f"{HERE}/java/target/classes:{LIBS}/*", "klamm.interop.Suite",
                                   program],
                                  env={**os.environ, "BOOTSTRAP": cluster.bootstrap, "KLAMM_LIBS": str(LIBS),
                                       "BROKER_CTL": f"{sys.executable} {HERE}/broker.py {victim.state_file}"},
                                  stdout=subprocess.PIPE, text=True)
        finally:
            victim.recall()
        assert done.stdout.startswith("ok "), done.stdout[-3000:]


@test
def kafka_streams_over_the_death_of_a_node_of_three():
    words_are_counted_over_the_death_of_a_node("words_are_counted_once_over_kills_of_application_and_broker")


@test
def kafka_streams_with_the_streams_protocol_over_the_death_of_a_node_of_three():
    words_are_counted_over_the_death_of_a_node("words_are_counted_once_with_the_streams_protocol")


main()
