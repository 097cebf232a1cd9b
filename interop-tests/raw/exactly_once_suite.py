"""A topic is copied in transactions while brokers and copying clients are killed: each record is in the copy exactly once."""
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from cluster import Cluster  # noqa: E402
from copying import copied, kill_each_in_turn, progress  # noqa: E402
from tap import main, test  # noqa: E402

KIND = os.environ["AGAINST"]
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
    with Cluster([KIND] * 3) as cluster:
        copied(cluster, ["java", "rdkafka"], lambda copies: kill_each_in_turn(cluster, copies, random.sample([1, 2, 3], 3)))


main()
