#!/usr/bin/env python3
"""klamm beside Apache Kafka 4.4.0 on this machine, in one run: a table with ratios, and a plot.

  bench.py [--quick] [--parts wire log transactions groups codec cluster] [--markdown FILE] [--svg FILE]

Each broker runs alone, in turn, with an empty directory. CPU seconds are the broker process's own, user and system. Rows of
MB/s and CPU per GB are the middle of three rounds, but for the catch-up read.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "interop-tests"))
import broker as brokers  # noqa: E402
import cluster_bench  # noqa: E402
import groups_bench  # noqa: E402
import log_bench  # noqa: E402
import transactions_bench  # noqa: E402

CLIENT = ROOT / "build/release/bench_client"
PARTS = ["wire", "log", "transactions", "groups", "codec", "cluster"]


def client(*args):
    return [float(x) for x in subprocess.run([str(CLIENT), *map(str, args)], check=True, capture_output=True, text=True).stdout.split()]


class SteadyMemory:
    """All memory is in use, as on a machine that has run for a while: the page cache takes its own oldest pages again. On a
    virtual machine the first touch of a page costs a fault of the host's, which would be in every row that writes."""

    PAGE_CACHE_MB = 4000
    LEFT_MB = 400

    def __init__(self, folder):
        self.filler = pathlib.Path(folder) / "filler"

    def __enter__(self):
        cached = next(int(line.split()[1]) // 1024 for line in open("/proc/meminfo") if line.startswith("Cached"))
        room = max(self.PAGE_CACHE_MB - cached, 0)
        self.holder = subprocess.Popen([str(CLIENT), "hold", str(self.LEFT_MB + room)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        subprocess.run(["dd", "if=/dev/zero", f"of={self.filler}", "bs=1M", f"count={room}", "conv=fsync"], check=True, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.wait()
        self.filler.unlink()


def cpu(pid):
    """Seconds that all threads of a process have run, also those that have ended."""
    process_clock = (~pid << 3) | 2  # as clock_getcpuclockid makes it
    return time.clock_gettime(process_clock)


def transfers(pid, run, rounds=3):
    """MB/s and CPU seconds per GB of `run`, which returns seconds and bytes: the middle of some rounds."""
    rates, costs = [], []
    for _ in range(rounds):
        before = cpu(pid)
        seconds, size = run()
        rates.append(size / 1e6 / seconds)
        costs.append((cpu(pid) - before) / (size / 1e9))
    return sorted(rates)[rounds // 2], sorted(costs)[rounds // 2]


def rss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def create(port, topic, partitions, configs=None):
    """CreateTopics v2 by hand: both brokers take it."""
    import socket
    import struct

    def text(value):
        return struct.pack(">h", len(value)) + value.encode()
    settings = b"".join(text(k) + text(v) for k, v in (configs or {}).items())
    body = struct.pack(">hhi", 19, 2, 1) + text("b") + struct.pack(">i", 1) + text(topic) + \
        struct.pack(">ihii", partitions, 1, 0, len(configs or {})) + settings + struct.pack(">i?", 60000, False)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(struct.pack(">i", len(body)) + body)
        s.recv(4096)
    client("ready", port, topic, partitions)


def noter(kind, out):
    def note(name, value):
        out[name] = value
        print(f"  {kind:6} {name:62} {value:12.3f}", flush=True)
    return note


def measure_log(kind, quick):
    out = {}
    log_bench.measure(kind, sys.modules[__name__], brokers, quick, noter(kind, out))
    return out


def measure_transactions(kind, quick):
    out = {}
    transactions_bench.measure(kind, sys.modules[__name__], brokers, quick, noter(kind, out))
    return out


def measure_groups(kind, quick):
    out = {}
    groups_bench.measure(kind, sys.modules[__name__], brokers, quick, noter(kind, out))
    return out


def measure_cluster(kind, quick):
    out = {}
    cluster_bench.measure(kind, sys.modules[__name__], quick, noter(kind, out))
    return out


def measure(kind, megabytes):
    out = {}
    note = noter(kind, out)
    broker = brokers.Broker(kind)
    if kind == "kafka":  # formatting is not starting
        broker.format()
    starts = []
    for _ in range(3):
        began = time.monotonic()
        process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, "CLUSTER_ID": brokers.CLUSTER_ID})
        while not broker.answers():
            time.sleep(0.0005)
        starts.append((time.monotonic() - began) * 1000)
        process.terminate()
        process.wait()
    note("start: exec to first Metadata answer, ms", sorted(starts)[1])
    broker.start()
    time.sleep(5)
    note("idle memory (RSS), MB", rss_mb(broker.pid))
    # What a JVM needs to have compiled its hot paths; klamm gets the same.
    warm_up = max(megabytes // 2, 100)
    create(broker.port, "warm", 1)
    client("produce", broker.port, "warm", 1, 1, warm_up, 16384, 1024)
    client("fetch", broker.port, "warm", 1)
    with SteadyMemory(broker.folder):
        client("produce", broker.port, "warm", 1, 1, megabytes, 16384, 1024)  # the first GB finds pages to take
        measure_transfer(broker, megabytes, note)
    measure_waits(broker, note)
    broker.kill()
    subprocess.run(["rm", "-rf", broker.folder], check=True)
    return out


def measure_transfer(broker, megabytes, note):
    for partitions in (1, 16):
        for acks in (1, -1):
            topic = f"p{partitions}a{acks + 2}"
            create(broker.port, topic, partitions)
            client("produce", broker.port, topic, partitions, acks, max(megabytes // 5, 20), 16384, 1024)
            what = f"{partitions} partition{'s' if partitions > 1 else ''}, acks={'all' if acks < 0 else acks}"
            rate, cost = transfers(broker.pid, lambda: client("produce", broker.port, topic, partitions, acks, megabytes // 2, 16384, 1024))
            note(f"produce MB/s ({what})", rate)
            note(f"produce CPU s/GB ({what})", cost)
        what = f"{partitions} partition{'s' if partitions > 1 else ''}"
        rate, cost = transfers(broker.pid, lambda: client("fetch", broker.port, topic, partitions))
        note(f"fetch MB/s ({what})", rate)
        note(f"fetch CPU s/GB ({what})", cost)
    log = max((p for p in log_bench.folder_of(broker, "p1a1").glob("*.log")), key=lambda p: p.stat().st_size)
    bare, size = client("transfer", log)
    note("bare loop beside it, page cache to a socket, CPU s/GB", bare / (size / 1e9))


def measure_waits(broker, note):
    create(broker.port, "latency", 1)
    client("latency", broker.port, "latency", 200, 2)
    create(broker.port, "latency2", 1)
    p50, p99, p999 = client("latency", broker.port, "latency2", 200, 10)
    note("produce to consume p50, ms (200/s, acks=all)", p50)
    note("produce to consume p99, ms", p99)
    note("produce to consume p99.9, ms", p999)
    for connections in (1, 64):
        client("requests", broker.port, connections, 2)
        note(f"small requests/s ({connections} connection{'s' if connections > 1 else ''})", client("requests", broker.port, connections, 4)[0])
    base = rss_mb(broker.pid)
    holder = subprocess.Popen([str(CLIENT), "idle", str(broker.port), "2000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    time.sleep(1)
    note("memory per idle connection, KB (2,000 of them)", max((rss_mb(broker.pid) - base) * 1024 / 2000, 0.0))
    holder.stdin.close()
    holder.wait()


def measure_codec(kind, seconds):
    """One thread over the known answers: every message of the protocol at every version, decoded and encoded again."""
    vectors = str(ROOT / "protocol/testdata/vectors.txt")
    command = [str(ROOT / "build/release/codec_bench")] if kind == "klamm" else         ["java", "-cp", f"{ROOT}/interop-tests/java/target/classes:{brokers.LIBS}/*", "klamm.vectors.CodecBench"]
    done = subprocess.run([*command, vectors, str(seconds)], check=True, capture_output=True, text=True)
    megabytes, messages = map(float, done.stdout.split())
    print(f"  {kind:6} codec {megabytes:.1f} MB/s, {messages:.0f} messages/s", flush=True)
    return {"codec: decode and encode, MB/s": megabytes, "codec: decode and encode, messages/s": messages}


def plot(names, ours, theirs, path):
    """Bars on a logarithmic scale: how many times better klamm is."""
    import math
    gains = [(n, theirs[n] / ours[n] if less_is_better(n) and ours[n] else ours[n] / theirs[n] if theirs[n] and not less_is_better(n) else 1) for n in names]
    width, row = 950, 22
    scale = 420 / max(math.log10(max(g for _, g in gains) + 1), 1)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{row * len(gains) + 50}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             '<text x="10" y="20" font-size="14">klamm beside Apache Kafka 4.4.0: times better (logarithmic)</text>']
    for i, (name, gain) in enumerate(gains):
        y = 34 + i * row
        length = max(math.log10(max(gain, 1)) * scale, 2)
        colour = "#2a7f62" if gain >= 1 else "#b3413b"
        lines.append(f'<text x="420" y="{y + 13}" text-anchor="end">{name.replace("<", "&lt;")}</text>'
                     f'<rect x="430" y="{y}" width="{length:.0f}" height="{row - 6}" fill="{colour}"/>'
                     f'<text x="{436 + length:.0f}" y="{y + 13}">{gain:.1f}x</text>')
    path.write_text("\n".join(lines + ["</svg>\n"]))


def less_is_better(name):
    return not any(rate in name for rate in ("MB/s", "requests/s", "messages/s", "acks/s", "transactions/s", "commits/s", "records/s"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a fifth of the data")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    args = parser.parse_args()
    if not brokers.LIBS.exists():
        subprocess.run(["mvn", "-q", "-B", "-f", str(ROOT / "interop-tests/java/pom.xml"), "package"], check=True)
    megabytes = 200 if args.quick else 1000
    codec_seconds = 3 if args.quick else 10
    rows = {}
    for kind in ("kafka", "klamm"):
        rows[kind] = {}
        if "wire" in args.parts:
            rows[kind] |= measure(kind, megabytes)
        if "log" in args.parts:
            rows[kind] |= measure_log(kind, args.quick)
        if "transactions" in args.parts:
            rows[kind] |= measure_transactions(kind, args.quick)
        if "groups" in args.parts:
            rows[kind] |= measure_groups(kind, args.quick)
        if "codec" in args.parts:
            rows[kind] |= measure_codec(kind, codec_seconds)
        if "cluster" in args.parts:
            rows[kind] |= measure_cluster(kind, args.quick)
    theirs, ours = rows["kafka"], rows["klamm"]
    table = ["| | Apache Kafka 4.4.0 | klamm | klamm / Kafka |", "|---|---:|---:|---:|"]
    for name in theirs:
        ratio = ours[name] / theirs[name] if theirs[name] else float("nan")
        table.append(f"| {name} | {theirs[name]:,.2f} | {ours[name]:,.2f} | {ratio:.3f} |")
    print("\n".join(table))
    if args.markdown:
        args.markdown.write_text("\n".join(table) + "\n")
    if args.svg:
        plot([n for n in theirs if "bare loop" not in n], ours, theirs, args.svg)


if __name__ == "__main__":
    main()
