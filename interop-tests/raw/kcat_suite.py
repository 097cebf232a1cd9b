"""kcat (Debian's librdkafka): a text file of over 100,000 lines through a 6-partition topic and back, over a kill."""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from stock_tools import said  # noqa: E402
from tap import BOOTSTRAP, ctl, equal, main, name, test  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINES = 100_001


def kcat(*args, **options):
    return subprocess.run(["kcat", "-b", BOOTSTRAP, *args], check=True, capture_output=True, timeout=120, **options).stdout


def create(topic, partitions):
    said("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", BOOTSTRAP, "--create", "--topic", topic, "--partitions", partitions)


@test
def a_file_goes_through_six_partitions_and_comes_back_whole():
    topic = name("file")
    create(topic, 6)
    lines = [b"line %d: the quick brown fox jumps over the lazy dog" % i for i in range(LINES)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(lines) + b"\n")
        file.flush()
        kcat("-P", "-t", topic, "-l", file.name, "-X", "sticky.partitioning.linger.ms=0")
    equal(sorted(kcat("-C", "-t", topic, "-e", "-q").splitlines()), sorted(lines), "what came back")
    ctl("kill")
    ctl("start")
    equal(sorted(kcat("-C", "-t", topic, "-e", "-q").splitlines()), sorted(lines), "what came back after the kill")


@test
def metadata_lists_the_topic_and_its_partitions():
    topic = name()
    create(topic, 3)
    listing = kcat("-L", "-t", topic).decode()
    assert f'topic "{topic}" with 3 partitions' in listing, listing


main()
