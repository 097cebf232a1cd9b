"""The rows of tools/bench about the log: record sizes, synced writes, cold reads, compaction, restarts, many partitions."""
import os
import pathlib
import subprocess
import time


BATCH_OF_64_KIB = 65_608  # bytes


def folder_of(broker, topic, partition=0):
    return pathlib.Path(broker.folder) / "data" / f"{topic}-{partition}"


def bytes_of(folder):
    return sum(p.stat().st_size for p in folder.glob("*.log"))


def forget_cache(folder):
    """Clean pages of the files leave the page cache."""
    os.sync()
    for path in folder.glob("*.log"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_until_ready(broker, bench, topic, partitions):
    began = time.monotonic()
    broker.start()
    bench.client("ready", broker.port, topic, partitions)
    return time.monotonic() - began


def one_size(broker, bench, megabytes, note, record, batch, name, partitions, acks):
    topic = f"size{record}-{batch}-{partitions}-{acks}"
    bench.create(broker.port, topic, partitions, {"max.message.bytes": "4000000"})
    bench.client("produce", broker.port, topic, partitions, acks, max(megabytes // 5, 20), batch, record)
    rate, cost = bench.transfers(broker.pid, lambda: bench.client("produce", broker.port, topic, partitions, acks, megabytes // 2, batch, record))
    note(f"produce MB/s ({name})", rate)
    note(f"produce CPU s/GB ({name})", cost)
    return topic


def sizes(broker, bench, megabytes, note):
    """1 KiB records in batches of 16 KiB, the clients' default, are among the rows of the wire."""
    for record, batch, what in ((100, 16384, "100 B records"), (65536, 65536, "64 KiB records")):
        for partitions in (1, 16):
            for acks in (1, -1):
                where = f"{what}, {partitions} partition{'s' if partitions > 1 else ''}"
                topic = one_size(broker, bench, megabytes, note, record, batch, f"{where}, acks={'all' if acks < 0 else acks}", partitions, acks)
            rate, cost = bench.transfers(broker.pid, lambda: bench.client("fetch", broker.port, topic, partitions))
            note(f"fetch MB/s ({where})", rate)
            note(f"fetch CPU s/GB ({where})", cost)
    for record, what in ((1024, "1 KiB"), (65536, "64 KiB")):
        one_size(broker, bench, megabytes, note, record, 1 << 20, f"{what} records in 1 MiB batches, 1 partition, acks=1", 1, 1)
    for chunk, what in ((1 << 20, "1 MiB"), (BATCH_OF_64_KIB, "a batch of one 64 KiB record")):
        bare, size = bench.client("receive", pathlib.Path(broker.folder) / "data" / ".bare", megabytes, chunk)
        note(f"bare loop beside it, {what} at a time from a socket to a new file, CPU s/GB", bare / (size / 1e9))


def synced(broker, bench, note):
    for producers in (1, 16, 256):
        topic = f"synced{producers}"
        bench.create(broker.port, topic, 1, {"flush.messages": "1"})
        bench.client("synced", broker.port, topic, producers, 2)
        note(f"synced acks/s ({producers} producer{'s' if producers > 1 else ''}, flush.messages=1)",
             bench.client("synced", broker.port, topic, producers, 4)[0])


def restarts(broker, bench, gigabytes, note):
    """Of a log of 1 GiB segments; afterwards the log is cold and read from its start."""
    bench.create(broker.port, "big", 1, {"max.message.bytes": "4000000"})
    bench.client("produce", broker.port, "big", 1, 1, gigabytes * 1000, 1 << 20, 1024)
    broker.kill()
    note(f"restart after kill -9 ({gigabytes} GB), ms", seconds_until_ready(broker, bench, "big", 1) * 1000)
    broker.stop()
    note(f"restart after a clean stop ({gigabytes} GB), ms", seconds_until_ready(broker, bench, "big", 1) * 1000)
    cold_read(broker, bench, note)


def cold_read(broker, bench, note):
    """Of a log larger than the page cache, once the broker has read it all before."""
    bench.client("fetch", broker.port, "big", 1)
    forget_cache(folder_of(broker, "big"))
    with bench.SteadyMemory(broker.folder):
        rate, cost = bench.transfers(broker.pid, lambda: bench.client("fetch", broker.port, "big", 1), rounds=1)
        note("catch-up read of cold data, MB/s", rate)
        note("catch-up read of cold data, CPU s/GB", cost)
        # What was read first has left the cache by now.
        bare, size = bench.client("transfer", min(folder_of(broker, "big").glob("*.log")))
        note("bare loop beside the catch-up read, CPU s/GB", bare / (size / 1e9))


def compaction(broker, bench, megabytes, note):
    """From the start of a broker that finds a dirty log until only the newest record of each key is left."""
    bench.create(broker.port, "compacted", 1, {"cleanup.policy": "compact", "segment.bytes": str(64 << 20), "min.cleanable.dirty.ratio": "0.01"})
    broker.stop()
    properties = pathlib.Path(broker.properties)
    text = properties.read_text()
    properties.write_text(text + "log.cleaner.enable=false\n")
    seconds_until_ready(broker, bench, "compacted", 1)
    bench.client("keyed", broker.port, "compacted", megabytes)
    broker.stop()
    properties.write_text(text.replace("log.cleaner.backoff.ms=500", "log.cleaner.backoff.ms=100") + "log.segment.delete.delay.ms=0\n")
    folder = folder_of(broker, "compacted")
    dirty = bytes_of(folder)
    broker.start()
    began = time.monotonic()
    while bytes_of(folder) > 70e6 and time.monotonic() - began < 120:
        time.sleep(0.02)
    note("compaction, MB/s of dirty log", dirty / 1e6 / (time.monotonic() - began))


def many_partitions(kind, bench, brokers, count, note):
    broker = brokers.Broker(kind)
    broker.start()
    time.sleep(2)
    topics = [f"many{i}" for i in range(10)]
    each = count // len(topics)

    def all_ready():
        for topic in topics:
            bench.client("ready", broker.port, topic, each)
    for topic in topics:
        bench.create(broker.port, topic, each)
        bench.client("ready", broker.port, topic, each)
        bench.client("produce", broker.port, topic, each, 1, max(each * 2 // 1000, 1), 1024, 1024)
    time.sleep(3)
    note(f"memory with {count:,} partitions, MB", bench.rss_mb(broker.pid))
    for how, name in (("kill", "kill -9"), ("stop", "a clean stop")):
        getattr(broker, how)()
        began = time.monotonic()
        broker.start(600)
        note(f"restart after {name} ({count:,} partitions), first answer, ms", (time.monotonic() - began) * 1000)
        all_ready()
        note(f"restart after {name} ({count:,} partitions), all answer, ms", (time.monotonic() - began) * 1000)
    broker.kill()


def measure(kind, bench, brokers, quick, note):
    subprocess.run(["sync"], check=True)
    broker = brokers.Broker(kind)
    broker.start()
    bench.create(broker.port, "warm", 1)
    bench.client("produce", broker.port, "warm", 1, 1, 100 if quick else 300, 16384, 1024)
    with bench.SteadyMemory(broker.folder):
        bench.client("produce", broker.port, "warm", 1, 1, 200 if quick else 1000, 16384, 1024)  # the first GB finds pages to take
        sizes(broker, bench, 200 if quick else 1000, note)
    synced(broker, bench, note)
    compaction(broker, bench, 200 if quick else 500, note)
    restarts(broker, bench, 2 if quick else 10, note)
    broker.kill()
    subprocess.run(["rm", "-rf", broker.folder], check=True)
    many_partitions(kind, bench, brokers, 1000 if quick else 10_000, note)
