"""The rows of tools/bench about three nodes: replicated writes, what a loss of a node costs, catching up."""
import shutil
import signal
import sys
import time

NODES = 3


def make_cluster(kind):
    from cluster import Cluster
    made = Cluster([kind] * NODES)
    made.__enter__()
    return made


def end(cluster):
    for node in cluster.nodes:
        node.end(signal.SIGKILL)
    shutil.rmtree(cluster.folder, ignore_errors=True)


def make_topic(cluster, topic, replicas):
    """One partition for each list of replicas, whose first leads."""
    from cluster import admin
    from confluent_kafka.admin import NewTopic
    client = admin(cluster)
    made = NewTopic(topic, len(replicas), replica_assignment=replicas)
    client.create_topics([made], request_timeout=120)[topic].result(180)


def wait_for(check, seconds, what, pause=0.005):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not come true within {seconds} s")
        time.sleep(pause)


def in_sync(cluster, topic, count=NODES):
    from cluster import partitions_of
    return all(len(p.isrs) == count for p in partitions_of(cluster, topic).values())


def make_ready(cluster, bench, topic, partitions=1):
    """A topic that node 1 leads, from when all have its replicas and node 1 answers for it."""
    make_topic(cluster, topic, [[1, 2, 3]] * partitions)
    wait_for(lambda: in_sync(cluster, topic), 60, "the ISR of three", 0.1)
    bench.client("ready", cluster.node(1).port, topic, partitions)


def controller_of(cluster):
    from cluster import admin
    return admin(cluster).list_topics(timeout=20).controller_id


def cpu(bench, cluster):
    return sum(bench.cpu(node.pid) for node in cluster.nodes if node.pid)


def throughput(cluster, bench, megabytes, note):
    port = cluster.node(1).port
    for partitions in (1, 16):
        topic = f"replicated{partitions}"
        make_ready(cluster, bench, topic, partitions)
        bench.client("produce", port, topic, partitions, -1, max(megabytes // 3, 30), 16384, 1024)
        before = cpu(bench, cluster)
        seconds, size = bench.client("produce", port, topic, partitions, -1, megabytes, 16384, 1024)
        time.sleep(1)  # the followers' last round
        what = f"3 nodes, {partitions} partition{'s' if partitions > 1 else ''}, acks=all"
        note(f"produce MB/s ({what})", size / 1e6 / seconds)
        note(f"produce CPU s/GB of all nodes ({what})", (cpu(bench, cluster) - before) / (size / 1e9))
    make_ready(cluster, bench, "latency")
    bench.client("latency", port, "latency", 100, 3)
    make_ready(cluster, bench, "latency2")
    p50, p99, _ = bench.client("latency", port, "latency2", 100, 10)
    note("produce to consume p50, ms (3 nodes, 100/s, acks=all)", p50)
    note("produce to consume p99, ms (3 nodes, 100/s, acks=all)", p99)


def catch_up(cluster, bench, megabytes, note):
    """A follower that was away while the others wrote, from its start until it is in sync again."""
    make_ready(cluster, bench, "far")
    follower = cluster.node(3)
    follower.end(signal.SIGTERM)
    _, size = bench.client("produce", cluster.node(1).port, "far", 1, 1, megabytes, 1 << 19, 1024)
    before = cpu(bench, cluster)
    follower.start()
    began = time.monotonic()
    wait_for(lambda: in_sync(cluster, "far"), 300, "that the follower has caught up", 0.02)
    note("catch-up of a follower, MB/s", size / 1e6 / (time.monotonic() - began))
    note("catch-up of a follower, CPU s/GB of all nodes", (cpu(bench, cluster) - before) / (size / 1e9))


def silence(cluster, topic, node, how=signal.SIGKILL):
    """The longest that acknowledgements stop when a node that leads ends, in seconds; every record is checked."""
    from cluster import Load
    with Load(cluster, topic) as load:
        wait_for(lambda: len(load.acked) > 500, 60, "a load")
        load.gap = 0.0
        node.end(how)
        count = len(load.acked)
        wait_for(lambda: len(load.acked) > count + 500, 120, "acknowledgements after the loss", 0.02)
    load.check()
    node.start()
    wait_for(lambda: in_sync(cluster, topic), 120, "the ISR of three", 0.1)
    return load.gap


def losses(cluster, note):
    def others(first):
        return [first, *(n for n in (1, 2, 3) if n != first)]
    cases = {}
    for name in ("leader", "leader and active controller", "leader, by SIGTERM"):
        controller = controller_of(cluster)
        leader = controller if "controller" in name else controller % NODES + 1
        topic = f"loss{len(cases)}"
        make_topic(cluster, topic, [others(leader)])
        wait_for(lambda t=topic: in_sync(cluster, t), 60, "the ISR of three", 0.1)
        how = signal.SIGTERM if "SIGTERM" in name else signal.SIGKILL
        cases[name] = silence(cluster, topic, cluster.node(leader), how)
        what = name if "SIGTERM" in name else name + " killed"
        note(f"acknowledgements stop, {what}, ms", cases[name] * 1000)


def controller_change(cluster, note):
    """From kill -9 of the active controller to the first topic that is created after it."""
    from confluent_kafka.admin import AdminClient, NewTopic
    active = controller_of(cluster)
    rest = ",".join(n.address for n in cluster.nodes if n.id != active)
    client = AdminClient({"bootstrap.servers": rest, "log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100})
    client.list_topics(timeout=20)
    began, tried, made = time.monotonic(), 0, False
    cluster.node(active).kill()
    while not made:
        tried += 1
        topic = f"after{tried}"
        try:
            client.create_topics([NewTopic(topic, 1, 2)], request_timeout=30, operation_timeout=0)[topic].result(60)
            made = True
        except Exception:  # not the controller yet; asked again
            time.sleep(0.01)
        if time.monotonic() - began > 120:
            sys.exit("no topic could be created within 120 s after the controller was killed")
    note("kill -9 of the active controller to the next topic created, ms", (time.monotonic() - began) * 1000)
    cluster.node(active).start()


def many(cluster, count, note):
    """Every partition has three replicas; one node is killed, and all that it led must lead elsewhere."""
    from cluster import admin
    from confluent_kafka.admin import AdminClient
    each = 500
    topics = [f"many{i}" for i in range(count // each)]
    for topic in topics:
        make_topic(cluster, topic, [[i % NODES + 1, (i + 1) % NODES + 1, (i + 2) % NODES + 1] for i in range(each)])
    client = admin(cluster)

    def leaders(of):
        known = of.list_topics(timeout=60).topics
        return [p.leader for t in topics for p in known[t].partitions.values()] if all(t in known for t in topics) else []
    wait_for(lambda: len(leaders(client)) == count and -1 not in leaders(client), 300, "leaders for all", 0.2)
    time.sleep(5)
    lost = controller_of(cluster) % NODES + 1
    rest = ",".join(n.address for n in cluster.nodes if n.id != lost)
    client = AdminClient({"bootstrap.servers": rest, "log_level": 0})
    leaders(client)
    began = time.monotonic()
    cluster.node(lost).kill()

    def moved():
        now = leaders(client)
        return len(now) == count and not {-1, lost} & set(now)
    wait_for(moved, 120, "new leaders", 0.01)
    note(f"{count:,} partitions fail over, ms", (time.monotonic() - began) * 1000)


def measure(kind, bench, quick, note):
    megabytes = 100 if quick else 500
    for part in ((throughput, bench, megabytes), (catch_up, bench, megabytes * 3), (losses,), (controller_change,),
                 (many, 1000 if quick else 5000)):
        cluster = make_cluster(kind)
        try:
            part[0](cluster, *part[1:], note)
        finally:
            end(cluster)
