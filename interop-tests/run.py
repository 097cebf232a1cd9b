#!/usr/bin/env python3
"""Runs the interop suites against a fresh broker each, or three nodes, of which one is the broker that a suite stops and kills.

  run.py [suite...] [--against klamm|kafka|host:port] [--nodes 3]

A suite is a command that gets the broker's address in BOOTSTRAP and, unless the broker is somebody else's, in
BROKER_CTL a command that takes start, stop or kill. It prints one line for each test, "ok NAME" or "not ok NAME: why".
"""
import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from broker import LIBS, ROOT, Broker  # noqa: E402
from cluster import Cluster  # noqa: E402

HERE = ROOT / "interop-tests"
CACHE = ROOT / "build" / "interop"
VENV = CACHE / "venv"
NEWEST_FRANZ_GO = (1, 26)  # the Go that it takes

# These start both brokers themselves; to run them against one alone would say nothing.
BOTH_SIDED = {"swap", "diff", "transactions", "groups", "share_groups", "streams_groups", "configs", "launch", "mixed"}
# These start their own nodes, of the kind they run against.
OWN_NODES = {"cluster", "exactly_once", "admin", "torture", *BOTH_SIDED}


def sh(*command, **options):
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, **options)


def java_jars():
    pom, suite = HERE / "java/pom.xml", HERE / "java/target/classes/klamm/interop/Suite.class"
    newest = max(source.stat().st_mtime for source in [pom, *(HERE / "java/src").rglob("*.java")])
    if not LIBS.exists() or not suite.exists() or LIBS.stat().st_mtime < newest:
        sh("mvn", "-q", "-B", "-f", pom, "package")
        LIBS.touch()


def start_java_sooner():
    """A JVM of the suites lives for seconds: its code is compiled in the quick way only, and a broker's classes come from an archive
    that another one has left."""
    archive = CACHE / "kafka.jsa"
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    if not archive.exists() or archive.stat().st_mtime < LIBS.stat().st_mtime:
        os.environ["KAFKA_JVM_PERFORMANCE_OPTS"] = f"-XX:ArchiveClassesAtExit={archive}"
        broker = Broker("kafka")
        broker.start()
        broker.end(signal.SIGTERM)
        shutil.rmtree(broker.folder, ignore_errors=True)
    os.environ["KAFKA_JVM_PERFORMANCE_OPTS"] = f"-XX:SharedArchiveFile={archive}"


def prepare_python(suite="suite.py"):
    wanted, installed = HERE / "python/requirements.txt", VENV / "requirements.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        sh("python3", "-m", "venv", VENV)
        sh(VENV / "bin/pip", "install", "-q", "-r", wanted)
        shutil.copy(wanted, installed)
    return [VENV / "bin/python", HERE / "python" / suite]


def prepare_java():
    java_jars()
    return ["java", "-Xmx512m", "-cp", f"{HERE}/java/target/classes:{LIBS}/*", "klamm.interop.Suite"]


def prepare_go(package="."):
    """franz-go is the newest where Go is new enough for it, which Debian's is not; the tests that take it are left out elsewhere."""
    binary = CACHE / ("go-suite" if package == "." else f"{package}-suite")
    version = re.search(r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout)
    newest = package == "." and tuple(map(int, version.groups())) >= NEWEST_FRANZ_GO
    if package == "." and not newest:
        print(f"Go {'.'.join(map(str, NEWEST_FRANZ_GO))} or newer would add the newest franz-go with its share groups", file=sys.stderr)
    sh("go", "build", *(["-modfile=newest.mod", "-tags=newest"] if newest else []), "-o", binary, f"./{package}", cwd=HERE / "go")
    return [binary]


def prepare_js():
    folder = CACHE / "js"
    wanted, installed = HERE / "js/package.json", folder / "package.json"
    if not (folder / "node_modules").exists() or installed.read_text() != wanted.read_text():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, installed)
        sh("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=folder)
    shutil.copy(HERE / "js/suite.js", folder)
    return ["node", folder / "suite.js"]


def prepare_rdkafka():
    sh("cmake", "--preset", "release", cwd=ROOT)
    sh("cmake", "--build", "build/release", "--target", "rdkafka_suite", cwd=ROOT)
    return [ROOT / "build/release/rdkafka_suite"]


SUITES = {
    "raw": lambda: ["python3", HERE / "raw/suite.py"],
    "kcat": lambda: ["python3", HERE / "raw/kcat_suite.py"],
    "diff": lambda: ["python3", HERE / "raw/diff_suite.py"],
    "transactions": lambda: ["python3", HERE / "raw/transactions_suite.py"],
    "groups": lambda: ["python3", HERE / "raw/groups_suite.py"],
    "share_groups": lambda: ["python3", HERE / "raw/share_groups_suite.py"],
    "streams_groups": lambda: ["python3", HERE / "raw/streams_groups_suite.py"],
    "configs": lambda: ["python3", HERE / "raw/configs_suite.py"],
    "swap": lambda: ["python3", HERE / "raw/swap_suite.py"],
    "cluster": lambda: [prepare_python()[0], HERE / "raw/cluster_suite.py"],
    "exactly_once": lambda: [prepare_python()[0], HERE / "raw/exactly_once_suite.py"],
    "admin": lambda: [prepare_python()[0], HERE / "raw/cluster_admin_suite.py"],
    "launch": lambda: ["python3", HERE / "raw/launch_suite.py"],
    "mixed": lambda: [prepare_python()[0], HERE / "raw/mixed_suite.py"],
    "torture": lambda: [prepare_python()[0], HERE / "torture/suite.py"],
    "rdkafka": prepare_rdkafka,
    "python": prepare_python,
    "aiokafka": lambda: prepare_python("aio_suite.py"),
    "java": prepare_java,
    "go": prepare_go,
    "sarama": lambda: prepare_go("sarama"),
    "js": prepare_js,
}


class Failed(Exception):
    """How many tests of a suite passed and how many failed; it leaves the brokers' folders to those who look for the reason."""


@contextlib.contextmanager
def one(against):
    broker = Broker(against)
    broker.start()
    keep = "KLAMM_KEEP" in os.environ
    try:
        yield broker
    except BaseException:
        keep = True
        print("   its log is in", broker.folder, flush=True)
        raise
    finally:
        broker.recall()
        broker.kill()
        if not keep:
            shutil.rmtree(broker.folder, ignore_errors=True)


@contextlib.contextmanager
def target(against, nodes):
    """The broker that a suite stops and kills, and the address that the suite is told, which is another node's if there are several."""
    if nodes == 1:
        with one(against) as broker:
            yield broker, broker.address
        return
    with Cluster([against] * nodes) as cluster:
        broker, other, *_ = random.sample(cluster.nodes, nodes)
        try:
            yield broker, other.address
        finally:
            broker.recall()


def run(name, command, against, nodes):
    environment = {**os.environ, "KLAMM_LIBS": str(LIBS), "AGAINST": against}
    with contextlib.ExitStack() as stack:
        if name not in OWN_NODES:
            environment["BOOTSTRAP"] = against
            if against in ("klamm", "kafka"):
                broker, environment["BOOTSTRAP"] = stack.enter_context(target(against, nodes))
                environment.update(REPLICAS=str(nodes), BROKER_CTL=f"{sys.executable} {HERE}/broker.py {broker.state_file}")
        passed, failed = outcome(name, command, environment)
        if failed:
            raise Failed(passed, failed)
    return passed, failed


def outcome(name, command, environment):
    try:
        done = subprocess.run([str(c) for c in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=900)
        output, code, errors = done.stdout, done.returncode, done.stderr
    except subprocess.TimeoutExpired as late:
        output, code, errors = (late.stdout or b"").decode(), 124, "the suite ran into its time limit"
    passed = len(re.findall(r"^ok ", output, re.M))
    failed = len(re.findall(r"^not ok ", output, re.M))
    if code != 0 and failed == 0:
        failed = 1
        output += f"not ok {name} ended with {code}: {errors[-2000:]}\n"
    for line in output.splitlines():
        if line.startswith(("not ok", "  ", "# ")):
            print("   ", line)
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suites", nargs="*")
    parser.add_argument("--against", default="klamm")
    parser.add_argument("--nodes", type=int, default=1, help="for suites that do not start their own")
    args = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    total_passed = total_failed = 0
    suites = args.suites or [s for s in SUITES if args.against == "klamm" or s not in BOTH_SIDED]
    # The kcat suite makes its topics with the stock tools.
    if args.against == "kafka" or {"java", "kcat", *OWN_NODES}.intersection(suites):
        java_jars()
        start_java_sooner()
    for name in suites:
        started = time.monotonic()
        print(f"== {name} against {args.against}{f' on {args.nodes} nodes' if args.nodes > 1 else ''} ", end="", flush=True)
        try:
            passed, failed = run(name, SUITES[name](), args.against, args.nodes)
        except Failed as counts:
            passed, failed = counts.args
        except Exception as error:  # a suite that cannot be prepared is a failure, not an end
            passed, failed = 0, 1
            print(f"\n    not ok {name}: {error}")
        print(f"{passed} passed, {failed} failed ({time.monotonic() - started:.1f} s)", flush=True)
        total_passed += passed
        total_failed += failed
    print(f"interop: {total_passed} passed, {total_failed} failed")
    sys.exit(1 if total_failed else 0)


if __name__ == "__main__":
    main()
