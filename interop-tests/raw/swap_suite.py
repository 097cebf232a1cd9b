"""One data directory, by turns under klamm and Apache Kafka 4.4.0: every record, the groups and the topics stay."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from broker import Broker  # noqa: E402
from tap import equal, main, test  # noqa: E402

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
COUNT = 5000


def kcat(broker, *args, **options):
    done = subprocess.run(["kcat", "-b", broker.address, *args], capture_output=True, text=True, timeout=60, **options)
    if done.returncode != 0:
        raise AssertionError(f"kcat {args}: {done.stderr[-400:]}")
    return done.stdout


def turns(first, second, how):
    broker = Broker(first)
    broker.start()
    for codec in CODECS:
        kcat(broker, "-P", "-t", "s-" + codec, "-z", codec, input="\n".join(map(str, range(COUNT))))
    equal(len(kcat(broker, "-G", "g", "s-none", "-e", "-q", "-o", "beginning").split()), COUNT, "first reading by the group")
    extra = []
    for kind in (second, first, second):
        getattr(broker, how)()
        broker.kind = kind
        broker.start()
        for codec in CODECS:
            got = kcat(broker, "-C", "-t", "s-" + codec, "-e", "-q").split()
            equal(got[:COUNT], [str(i) for i in range(COUNT)], f"s-{codec} under {kind}")
        extra.append(f"by-{kind}")
        kcat(broker, "-P", "-t", "s-none", input=extra[-1] + "\n")
        equal(kcat(broker, "-G", "g", "s-none", "-e", "-q").split(), [extra[-1]], f"what the group still had to read under {kind}")
    broker.kill()


@test
def klamms_directory_under_kafka_and_back():
    turns("klamm", "kafka", "stop")


@test
def kafkas_directory_under_klamm_and_back():
    turns("kafka", "klamm", "stop")


@test
def also_after_a_kill_of_either():
    turns("klamm", "kafka", "kill")


main()
