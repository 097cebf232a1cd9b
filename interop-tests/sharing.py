"""Members of a share group over the deaths of brokers, and a judge of what they were given."""
import collections
import pathlib
import signal
import subprocess
import tempfile

from broker import LIBS
from cluster import create_topic, partitions_of
from load import Load
from stock_tools import said
from tap import eventually, name

HERE = pathlib.Path(__file__).resolve().parent


class Sharer:
    def __init__(self, bootstrap, topic, group):
        self.out = tempfile.NamedTemporaryFile(prefix="klamm-sharer-", suffix=".log")
        self.errors = tempfile.NamedTemporaryFile(prefix="klamm-sharer-", suffix=".err")
        self.process = subprocess.Popen(["java", "-Xmx128m", "-cp", f"{HERE}/java/target/classes:{LIBS}/*", "klamm.interop.Sharer",
                                         bootstrap, topic, group], stdout=self.out, stderr=self.errors)

    def values(self):
        """What it was given, with how sure it is of the acknowledgement."""
        return [line.split() for line in pathlib.Path(self.out.name).read_text().splitlines() if line.count(" ") == 1]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def begin_at_the_beginning(cluster, group, *more):
    """Has a group read all that there is; records that it does not acknowledge are given out again after 15 s."""
    said("kafka.admin.ConfigCommand", "--bootstrap-server", cluster.bootstrap, "--alter", "--group", group, "--add-config",
         ",".join(["share.auto.offset.reset=earliest", "share.record.lock.duration.ms=15000", *more]))


def shared(cluster, trouble):
    """Two members read what a producer writes while `trouble(load)` goes on: each record is given to somebody, and one that was
    acknowledged to nobody any more."""
    topic, group = name(), name("share")
    create_topic(cluster, topic, 3)
    eventually(lambda: all(len(p.isrs) == cluster.factor for p in partitions_of(cluster, topic).values()), 30, "the ISR")
    begin_at_the_beginning(cluster, group)
    members = [Sharer(cluster.bootstrap, topic, group) for _ in range(2)]
    try:
        with Load(cluster, topic) as load:
            eventually(lambda: all(len(m.values()) > 50 for m in members), 60, "records for both members")
            trouble(load)
        load.check()
        # What the load has, acknowledged or not, is in the log; those acknowledged must be given out.
        wanted = set(load.acked)
        eventually(lambda: wanted <= {v for m in members for _, v in m.values()}, 90, "every acknowledged record")
        acked = collections.Counter(v for m in members for how, v in m.values() if how == "acked")
        twice = [v for v, count in acked.items() if count > 1]
        assert not twice, f"{len(twice)} records were given out after they were acknowledged, such as {twice[:5]}"
    finally:
        for member in members:
            member.kill()
