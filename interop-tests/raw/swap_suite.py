"""One data directory, by turns under klamm and Apache Kafka 4.4.0: every record, the groups and the topics stay."""
import pathlib
import random
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from broker import Broker  # noqa: E402
from stock_tools import tool  # noqa: E402
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


def dump(files, *decoder):
    """What the stock kafka-dump-log says of the files, with its index and deep checks; it must not complain."""
    done = tool("org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", *decoder, "--files", ",".join(map(str, files)))
    equal(done.returncode, 0, f"dump of {files}: {done.stderr[-500:]}")
    for trouble in ("isvalid: false", "Mismatches", "Found timestamp mismatch", "Non-consecutive", "Found out of order timestamp", "Could not"):
        assert trouble not in done.stdout, done.stdout[done.stdout.index(trouble) - 200:][:600]
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
        dump([log, log.with_suffix(".index"), log.with_suffix(".timeindex")])
    broker.kind = "kafka"
    broker.start()
    equal(read(), before, "the compacted topic under Kafka")
    kcat(broker, "-P", "-t", "c", "-K:", input="k0:after\n")
    broker.stop()
    broker.kind = "klamm"
    broker.start()
    equal(read()[-1].split()[2], "after", "the last record, from Kafka")
    broker.kill()


@test
def a_folder_of_no_topic_is_kept_out_of_the_way():
    for kind in ("kafka", "klamm"):
        broker = Broker(kind)
        broker.start()
        kcat(broker, "-P", "-t", "known", input="a\n")
        broker.stop()
        data = pathlib.Path(broker.folder) / "data"
        shutil.copytree(data / "known-0", data / "alien-0")
        (data / "alien-0" / "partition.metadata").write_text("version: 0\ntopic_id: " + "A" * 20 + "QA")
        broker.start()
        eventually(lambda: not (data / "alien-0").exists(), 20, f"that the folder of no topic goes under {kind}")
        kept = list(data.glob("alien-0.*-stray"))
        equal(len(kept), 1, f"the number of stray folders under {kind}")
        assert (kept[0] / ("0" * 20 + ".log")).stat().st_size > 0, f"the stray log is empty under {kind}"
        equal(kcat(broker, "-C", "-t", "known", "-e", "-q"), "a\n", f"the topic beside it under {kind}")
        broker.kill()


@test
def every_file_of_klamm_is_clean_to_the_stock_dump_log_and_what_was_deleted_stays_deleted():
    broker = Broker("klamm", more="log.segment.bytes=1048576\nmetadata.log.max.record.bytes.between.snapshots=300\n")
    broker.start()
    for codec in CODECS:
        lines = (f"k{i}:{codec}-{i}-{random.randbytes(200).hex()}" for i in range(COUNT))
        kcat(broker, "-P", "-t", "f-" + codec, "-K:", "-H", "where=here", "-z", codec, input="\n".join(lines))
    wanted = pathlib.Path(broker.folder) / "delete.json"
    wanted.write_text('{"partitions": [{"topic": "f-none", "partition": 0, "offset": 3000}], "version": 1}')
    equal(tool("org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", broker.address, "--offset-json-file", str(wanted)).returncode, 0)
    kcat(broker, "-G", "g", "f-gzip", "-e", "-q", "-o", "beginning")

    def read():
        return {codec: kcat(broker, "-C", "-t", "f-" + codec, "-e", "-q", "-f", "%o %k %h %s\n").splitlines() for codec in before}
    before = dict.fromkeys(CODECS)
    before = read()
    equal(before["none"][0].split()[:3], ["3000", "k3000", "where=here"], "the first record that is left")
    broker.stop()
    data = pathlib.Path(broker.folder) / "data"
    for partition in data.glob("*-[0-9]*"):
        decoder = {"__cluster_metadata": ["--cluster-metadata-decoder"], "__consumer_offsets": ["--offsets-decoder"]}.get(partition.name.rsplit("-", 1)[0], [])
        if partition.name.startswith("__consumer_offsets") and not any(log.stat().st_size for log in partition.glob("*.log")):
            continue
        files = [file for suffix in ("log", "index", "timeindex", "snapshot", "checkpoint") for file in sorted(partition.glob("*." + suffix))]
        dump(files, *decoder)
    snapshots = sorted((data / "__cluster_metadata-0").glob("*.checkpoint"))
    assert len(snapshots) > 1, snapshots
    assert "f-zstd" in dump(snapshots[-1:], "--cluster-metadata-decoder"), "the newest snapshot names no topic"
    for kind in ("kafka", "klamm"):
        broker.kind = kind
        broker.start()
        equal(read(), before, f"under {kind}")
        equal(kcat(broker, "-G", "g", "f-gzip", "-e", "-q"), "", f"what the group still had to read under {kind}")
        gone = {"kafka": "f-snappy", "klamm": "f-lz4"}[kind]
        equal(tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.address, "--delete", "--topic", gone).returncode, 0)
        eventually(lambda: not (data / f"{gone}-0").exists(), 30, f"the end of the folder of {gone} under {kind}")
        del before[gone.removeprefix("f-")]
        broker.stop()
    broker.kind = "kafka"
    broker.start()
    equal(read(), before, "what is left, under Kafka")
    assert "f-lz4" not in kcat(broker, "-L"), "a deleted topic is back"
    broker.kill()


def committed(broker):
    return kcat(broker, "-C", "-t", "x", "-X", "isolation.level=read_committed", "-e", "-q").split()


@test
def transactions_of_kafka_under_klamm_and_back():
    rounds = 20
    broker = Broker("kafka")
    broker.start()
    equal(tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", "x",
               "--config", "segment.bytes=1048576", "--config", "index.interval.bytes=500").returncode, 0)
    written = tool("klamm.interop.Transactions", broker.address, "x", str(rounds))
    equal(written.returncode, 0, written.stderr[-500:])
    expected = [f"committed-{r}-{i}" for r in range(rounds) for i in range(5)]
    equal(committed(broker), expected, "under Kafka")
    folder = pathlib.Path(broker.folder) / "data/x-0"
    before = [p.read_bytes() for p in sorted(folder.glob("*.txnindex"))]
    for how, kind in (("stop", "klamm"), ("kill", "klamm"), ("stop", "kafka"), ("kill", "klamm"), ("stop", "kafka")):
        getattr(broker, how)()
        broker.kind = kind
        broker.start()
        equal(committed(broker), expected, f"under {kind} after {how}")
        # What is behind the open transaction is not stable.
        kcat(broker, "-P", "-t", "x", "-p", "0", input="plain\n")
        equal(committed(broker), expected, f"under {kind}, with a record behind the open transaction")
    broker.kill()
    equal([p.read_bytes() for p in sorted(folder.glob("*.txnindex"))], before, "the index of aborted transactions")


@test
def transactional_producers_go_on_under_the_other_broker():
    rounds = 3
    broker = Broker("kafka")
    broker.start()
    equal(tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", "x").returncode, 0)
    expected = []
    for how, kind in (("stop", "klamm"), ("stop", "kafka"), ("kill", "klamm"), ("kill", "klamm"), ("stop", "kafka")):
        # Ends the transaction that the life before has left open, under its id.
        written = tool("klamm.interop.Transactions", broker.address, "x", str(rounds))
        equal(written.returncode, 0, f"transactions under {broker.kind}: {written.stderr[-500:]}")
        expected += [f"committed-{r}-{i}" for r in range(rounds) for i in range(5)]
        equal(committed(broker), expected, f"under {broker.kind}")
        getattr(broker, how)()
        broker.kind = kind
        broker.start()
        equal(committed(broker), expected, f"under {kind} after {how}")
    broker.stop()
    folder = pathlib.Path(broker.folder) / "data"
    state = dump(sorted(folder.glob("__transaction_state-*/*.log")), "--transaction-log-decoder")
    assert '"transactionStatus":2' in state, state[:1000]


@test
def a_topic_moves_between_directories_under_load_and_between_brokers():
    partitions, topic = 3, "m"
    broker = Broker("klamm", dirs=("data", "other"))
    broker.start()
    equal(tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", topic, "--partitions", str(partitions),
               "--config", "segment.bytes=1048576").returncode, 0)
    written = [f"{i}-{random.randbytes(60).hex()}" for i in range(30000)]
    kcat(broker, "-P", "-t", topic, input="\n".join(written))

    def read():
        return sorted(kcat(broker, "-C", "-t", topic, "-e", "-q").split())

    def folders(name):
        return sorted(p.name for p in (pathlib.Path(broker.folder) / name).glob(topic + "-*") if not p.name.endswith("-delete"))
    for kind, target in (("klamm", "other"), ("kafka", "data"), ("klamm", "other")):
        broker.stop()
        broker.kind = kind
        broker.start()
        more = [f"{kind}-{len(written) + i}" for i in range(20000)]
        load = subprocess.Popen(["kcat", "-b", broker.address, "-P", "-t", topic], stdin=subprocess.PIPE, text=True)
        load.stdin.write("\n".join(more[:10000]) + "\n")
        load.stdin.flush()
        moved = tool("klamm.interop.MoveLogs", broker.address, topic, str(partitions), f"{broker.folder}/{target}")
        equal(moved.stdout.strip(), str(list(range(partitions))), f"the move under {kind}: {moved.stderr[-500:]}")
        load.stdin.write("\n".join(more[10000:]) + "\n")
        load.stdin.close()
        equal(load.wait(), 0)
        written += more
        equal(read(), sorted(written), f"after the move to {target} under {kind}")
        equal(folders(target), [f"{topic}-{p}" for p in range(partitions)])
    broker.kill()
    broker.kind = "kafka"
    broker.start()
    equal(read(), sorted(written), "under Kafka after a kill")
    broker.kill()


main()
