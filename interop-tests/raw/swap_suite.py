"""One data directory, by turns under klamm and Apache Kafka 4.4.0: every record, the groups and the topics stay."""
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import broker as broker_module  # noqa: E402
from broker import Broker  # noqa: E402
from tap import equal, eventually, main, test  # noqa: E402

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


def tool(main_class, *args):
    libs = broker_module.LIBS
    return subprocess.run(["java", "-cp", f"{libs.parent}/tools-libs/*:{libs}/*", main_class, *args], capture_output=True, text=True, timeout=120)


def dump(*files):
    """What the stock kafka-dump-log says of the files, with its index and deep checks."""
    done = tool("org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--files", ",".join(map(str, files)))
    equal(done.returncode, 0, f"dump of {files}: {done.stderr[-500:]}")
    return done.stdout


@test
def what_klamm_wrote_and_compacted_is_clean_to_the_stock_dump_log_and_to_kafka():
    broker = Broker("klamm")
    broker.start()
    equal(tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", "c", "--config", "cleanup.policy=compact",
               "--config", "segment.bytes=1048576", "--config", "min.cleanable.dirty.ratio=0.01", "--config", "index.interval.bytes=1000").returncode, 0)
    for codec in CODECS:
        lines = (f"k{i % 50}:{codec}-{i}-{random.randbytes(150).hex()}" for i in range(COUNT))
        kcat(broker, "-P", "-t", "c", "-K:", "-z", codec, input="\n".join(lines))
    folder = pathlib.Path(broker.folder) / "data/c-0"

    def read():
        return kcat(broker, "-C", "-t", "c", "-e", "-q", "-f", "%k %o %s\n").splitlines()
    eventually(lambda: len(read()) < COUNT * 2, 60, "the compaction")
    before = read()
    broker.stop()
    logs = sorted(folder.glob("*.log"))
    assert len(logs) > 1, logs
    for log in logs:
        said = dump(log, log.with_suffix(".index"), log.with_suffix(".timeindex"))
        for trouble in ("isvalid: false", "Mismatches", "Found timestamp mismatch", "Non-consecutive", "Found out of order timestamp"):
            assert trouble not in said, f"{log.name}: {said[said.index(trouble) - 200:][:600]}"
    broker.kind = "kafka"
    broker.start()
    equal(read(), before, "the compacted topic under Kafka")
    kcat(broker, "-P", "-t", "c", "-K:", input="k0:after\n")
    broker.stop()
    broker.kind = "klamm"
    broker.start()
    equal(read()[-1].split()[2], "after", "the last record, from Kafka")
    broker.kill()


main()
