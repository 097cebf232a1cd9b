"""How clusters come into being: klamm's and Kafka's way to format directories, each for both brokers, and `klamm dev`."""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from broker import CLUSTER_ID, LIBS, ROOT, Broker, free_port  # noqa: E402
from stock_tools import said  # noqa: E402
from tap import equal, eventually, main, test  # noqa: E402

KLAMM = os.environ.get("KLAMM_BINARY", str(ROOT / "build/release/klamm"))
PROPERTIES = """process.roles=broker,controller
node.id={id}
controller.quorum.bootstrap.servers=127.0.0.1:{first}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
"""


class Fresh(Broker):
    """A node of a quorum that is found by its bootstrap servers, not formatted yet."""

    def __init__(self, kind, node_id=1, first=None):
        super().__init__(kind)
        self.id, self.controller = node_id, free_port()
        pathlib.Path(self.properties).write_text(PROPERTIES.format(
            id=node_id, port=self.port, controller=self.controller, first=first or self.controller, data=self.folder + "/data"))

    def format_by(self, formatter, *options):
        arguments = ["format", "-t", CLUSTER_ID, "-c", self.properties, *options]
        command = [KLAMM] if formatter == "klamm" else self.java("kafka.tools.StorageTool")
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)

    def voters(self):
        rows = said("org.apache.kafka.tools.MetadataQuorumCommand", "--bootstrap-server", self.address, "describe", "--replication")
        return sorted(line.split()[0] for line in rows.splitlines() if line.split()[-1:] in (["Leader"], ["Follower"]))


def grows_from_one(formatter, kinds):
    """A standalone controller, formatted by one, run by another, to which a second one is added."""
    first = Fresh(kinds[0])
    done = first.format_by(formatter, "--standalone")
    equal(done.returncode, 0, done.stdout + done.stderr)
    first.start()
    second = Fresh(kinds[1], 2, first.controller)
    try:
        equal(first.voters(), ["1"], "the voters")
        done = second.format_by(formatter, "--no-initial-controllers")
        equal(done.returncode, 0, done.stdout + done.stderr)
        second.start()

        def add():
            return subprocess.run(["java", "-cp", f"{LIBS.parent}/tools-libs/*:{LIBS}/*", "org.apache.kafka.tools.MetadataQuorumCommand",
                                   "--command-config", second.properties, "--bootstrap-server", first.address, "add-controller"],
                                  capture_output=True, text=True, timeout=60).returncode == 0
        eventually(add, 60, "a second voter")
        eventually(lambda: first.voters() == ["1", "2"], 20, "two voters")
    finally:
        second.kill()
        first.kill()


@test
def klamm_formats_for_itself():
    grows_from_one("klamm", ["klamm", "klamm"])


@test
def klamm_formats_for_kafka():
    grows_from_one("klamm", ["kafka", "klamm"])


@test
def kafka_formats_for_klamm():
    grows_from_one("kafka", ["klamm", "kafka"])


@test
def a_formatted_directory_is_not_formatted_again():
    node = Fresh("klamm")
    equal(node.format_by("klamm").returncode, 0, "the first time")
    again = node.format_by("klamm")
    assert again.returncode != 0 and "already formatted" in again.stdout + again.stderr, again
    equal(node.format_by("klamm", "--ignore-formatted").returncode, 0, "when told to leave it alone")
    bad = Fresh("klamm").format_by("klamm", "--initial-controllers", "1@localhost")
    assert bad.returncode != 0 and "id@host:port:directory" in bad.stdout + bad.stderr, bad


@test
def three_nodes_by_one_command():
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        dev = subprocess.Popen([KLAMM, "dev", "--nodes", "3", "--port", str(port), "--dir", folder], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, bufsize=1)

        def until(text):
            seen = ""
            while text not in seen:
                line = dev.stdout.readline()
                assert line, f"{text!r} was not said: {seen}"
                seen += line
            return seen

        def tell(line):
            dev.stdin.write(line + "\n")

        started = until("bootstrap.servers=")
        equal(started.count(" up "), 3, "nodes that are up")
        tell("kill 2")
        until("node 2 has ended by signal 9")
        tell("stop 3")
        until("node 3 has ended\n")
        tell("status")
        equal(until("bootstrap.servers=").count(" down "), 2, "nodes that are down")
        tell("start 2")
        tell("start 3")
        tell("kill 7")
        until("wants the number of a node")
        brokers = [f"127.0.0.1:{port + i}" for i in range(3)]
        eventually(lambda: all(address in subprocess.run(["kcat", "-b", brokers[0], "-L"], capture_output=True, text=True).stdout
                               for address in brokers), 30, "three brokers")
        tell("quit")
        equal(dev.wait(20), 0, "its end")


main()
