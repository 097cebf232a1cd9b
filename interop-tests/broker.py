#!/usr/bin/env python3
"""Starts and stops the broker under test: klamm, or Apache Kafka 4.4.0 from the jars that Maven brought.

As a command it is what suites call to restart their broker:  broker.py STATE_FILE start|stop|kill
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBS = ROOT / "interop-tests" / "java" / "target" / "libs"
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.streams.initial.rebalance.delay.ms=0
group.streams.min.heartbeat.interval.ms=500
group.streams.min.session.timeout.ms=6000
socket.request.max.bytes=20000000
log.cleaner.backoff.ms=500
"""


def free_port():
    """A port below those that the system gives to outgoing connections, which could take it while its broker is down."""
    first_outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, max(first_outgoing, 11000))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


class Broker:
    host = "127.0.0.1"
    wrapper = ()  # a command that runs another one

    def __init__(self, kind, folder=None, state=None, dirs=("data",), more=""):
        if state is not None:
            self.__dict__.update(state)
            return
        self.kind = kind
        self.folder = folder or tempfile.mkdtemp(prefix="klamm-interop-")
        self.port = free_port()
        self.pid = 0
        self.properties = self.folder + "/server.properties"
        data = ",".join(f"{self.folder}/{d}" for d in dirs)
        pathlib.Path(self.properties).write_text(PROPERTIES.format(port=self.port, controller=free_port(), data=data) + more)
        self.state_file = self.folder + "/state.json"

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def save(self):
        pathlib.Path(self.state_file).write_text(json.dumps(self.__dict__))

    def recall(self):
        """Which process it is now, when a suite may have started it anew."""
        self.pid = json.loads(pathlib.Path(self.state_file).read_text())["pid"]

    def command(self):
        if self.kind == "klamm":
            # Another build of it (with sanitizers, say), more arguments for it: from the environment.
            binary = os.environ.get("KLAMM_BINARY", str(ROOT / "build/release/klamm"))
            return [binary, self.properties, *os.environ.get("KLAMM_ARGS", "").split()]
        return self.java("-Xmx768m", "kafka.Kafka", self.properties)

    @staticmethod
    def java(*arguments):
        """Of one of Kafka's classes; options of the JVM come by the variable that its start scripts know."""
        return ["java", *os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS", "").split(), "-cp", f"{LIBS}/*", *arguments]

    def format(self):
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", self.properties),
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, seconds=60):
        if self.kind == "kafka" and not os.path.exists(self.folder + "/data/meta.properties"):
            self.format()
        environment = {**os.environ, "CLUSTER_ID": CLUSTER_ID}
        with open(self.folder + "/broker.log", "ab") as log:
            process = subprocess.Popen([*self.wrapper, *self.command()], stdout=log, stderr=log, env=environment, start_new_session=True)
        self.pid = process.pid
        self.save()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the broker ended at once (exit code {process.returncode}): {self.last_words()}")
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"the broker does not answer: {self.last_words()}")

    def last_words(self):
        with open(self.folder + "/broker.log", errors="replace") as log:
            return f"{self.folder}/broker.log ends with\n" + "".join(log.readlines()[-20:])

    def answers(self):
        """True once a Metadata request is answered with a broker in it."""
        return len(self.metadata()) > 20

    def metadata(self):
        """The answer to a Metadata request that names no topic, empty for none."""
        try:
            with socket.create_connection((self.host, self.port), 1) as s:
                s.settimeout(5)
                s.sendall(bytes.fromhex("0000000f" "0003" "0001" "00000001" "0001" "61" "00000000"))
                size = s.recv(4)
                return s.recv(int.from_bytes(size, "big")) if len(size) == 4 else b""
        except OSError:
            return b""

    def end(self, how):
        if not self.pid:
            return
        try:
            mine = self.is_mine()
            os.kill(self.pid, how)
            for _ in range(3000):
                # A process whose first thread is a zombie may still hold its files; only for one that is somebody
                # else's to reap is that the best that can be seen.
                if (os.waitpid(self.pid, os.WNOHANG)[0] if mine else self.is_gone()):
                    break
                time.sleep(0.01)
        except (ProcessLookupError, ChildProcessError):
            pass
        self.pid = 0
        self.save()

    def is_gone(self):
        try:
            with open(f"/proc/{self.pid}/stat") as stat:
                threads = len(os.listdir(f"/proc/{self.pid}/task"))
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z" and threads == 1
        except FileNotFoundError:
            return True

    def is_mine(self):
        try:
            with open(f"/proc/{self.pid}/stat") as stat:
                return int(stat.read().rsplit(")", 1)[1].split()[1]) == os.getpid()
        except FileNotFoundError:
            return False

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)


if __name__ == "__main__":
    broker = Broker(None, state=json.loads(pathlib.Path(sys.argv[1]).read_text()))
    {"start": broker.start, "stop": broker.stop, "kill": broker.kill}[sys.argv[2]]()
