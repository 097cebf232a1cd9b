"""Requests of the streams protocol (KIP-1071) and what is read of their answers."""
import struct

from groups_suite_tools import Reader, compact_list
from peers import compact, frame


def null_or(value, encode=compact):
    return b"\0" if value is None else encode(value)


def struct_or_null(fields):
    return b"\xff" if fields is None else b"\1" + fields + b"\0"


def pairs(values):
    return None if values is None else [compact(k) + compact(v) + b"\0" for k, v in values]


def topic_info(name, partitions=0, factor=0, configs=()):
    return compact(name) + struct.pack(">ih", partitions, factor) + compact_list(pairs(configs)) + b"\0"


def subtopology(id, sources=(), changelogs=(), sinks=(), repartition=(), copartition=()):
    """`changelogs`, `repartition`: topic_info(...); `copartition`: (indexes of sources, indexes of repartition topics)."""
    def shorts(values):
        return compact_list([struct.pack(">h", v) for v in values])
    groups = [shorts(a) + shorts([]) + shorts(b) + b"\0" for a, b in copartition]
    return compact(id) + compact_list([compact(s) for s in sources]) + compact_list([]) + compact_list(list(changelogs)) + \
        compact_list([compact(s) for s in sinks]) + compact_list(list(repartition)) + compact_list(groups) + b"\0"


def topology(*subtopologies, epoch=0):
    return struct.pack(">i", epoch) + compact_list(list(subtopologies))


def tasks(owned):
    return None if owned is None else [compact(s) + compact_list([struct.pack(">i", p) for p in ps]) + b"\0" for s, ps in sorted(owned.items())]


def offsets(values):
    return None if values is None else [compact(s) + struct.pack(">iq", p, o) + b"\0" for (s, p), o in sorted(values.items())]


def heartbeat(group, member, epoch, topology=None, active=None, standby=None, warmup=None, *, version=1, endpoint_epoch=0, instance=None,
              rack=None, rebalance=-1, process=None, endpoint=None, tags=None, task_offsets=None, end_offsets=None, shutdown=False):
    body = compact(group) + compact(member) + struct.pack(">ii", epoch, endpoint_epoch) + null_or(instance) + null_or(rack)
    body += struct.pack(">i", rebalance) + struct_or_null(topology)
    for owned in (active, standby, warmup):
        body += compact_list(tasks(owned))
    body += null_or(process) + struct_or_null(None if endpoint is None else compact(endpoint[0]) + struct.pack(">H", endpoint[1]))
    body += compact_list(pairs(tags)) + compact_list(offsets(task_offsets)) + compact_list(offsets(end_offsets))
    return frame(88, version, body + struct.pack(">?", shutdown) + b"\0", flexible=True)


def join(group, member, topology, process="p", **more):
    return heartbeat(group, member, 0, topology, {}, {}, {}, rebalance=more.pop("rebalance", 60000), process=process,
                     tags=more.pop("tags", []), **more)


def read_tasks(at):
    size = at.uvarint()
    found = {}
    for _ in range(max(size - 1, 0)):
        name = at.compact().decode()
        found[name] = [at.take(">i") for _ in range(at.count())]
        at.take(">b")
    return None if size == 0 else found


def told(answer, version=1):
    """A StreamsGroupHeartbeat's answer as a dict; the texts of errors are left out."""
    at = Reader(answer, 9)
    said = {"code": at.take(">h")}
    at.compact()
    said["member"], said["epoch"] = at.compact(), at.take(">i")
    at.take(">i")  # how often to speak is each broker's own choice
    if version == 0:
        said["lag"] = at.take(">i")
    said["task offsets"] = at.take(">i")
    if version > 0:
        said["lag"] = at.take(">q")
    size = at.uvarint()
    said["status"] = None if size == 0 else []
    for _ in range(max(size - 1, 0)):
        said["status"].append((at.take(">b"), at.compact().decode()))
        at.take(">b")
    for kind in ("active", "standby", "warmup"):
        said[kind] = read_tasks(at)
    if version > 0:
        said["description"] = at.take(">?")
    said["endpoint epoch"] = at.take(">i")
    size = at.uvarint()
    said["endpoints"] = None if size == 0 else []
    for _ in range(max(size - 1, 0)):
        host, port, _ = at.compact(), at.take(">H"), at.take(">b")
        parts = []
        for _ in range(2):
            parts.append(sorted((at.compact(), sorted(at.take(">i") for _ in range(at.count())), at.take(">b")) for _ in range(at.count())))
        at.take(">b")
        said["endpoints"].append((host, port, *parts))
    assert answer[at.at:] == b"\0", answer[at.at:]
    return said


def read_map(at):
    return sorted((at.compact(), at.compact(), at.take(">b")) for _ in range(at.count()))


def read_topics(at):
    return [(at.compact(), at.take(">ih"), read_map(at), at.take(">b")) for _ in range(at.count())]


def read_names(at):
    return [at.compact() for _ in range(at.count())]


def read_topology(at):
    if at.take(">b") < 0:
        return None
    epoch, subtopologies = at.take(">i"), []
    for _ in range(at.count()):
        subtopologies.append((at.compact(), read_names(at), read_names(at), read_topics(at), read_topics(at), at.take(">b")))
    return epoch, subtopologies, at.take(">b")


def read_member(at):
    told = [at.compact(), at.take(">i"), at.compact(), at.compact(), at.compact(), at.compact(), at.take(">i"), at.compact()]
    told.append((at.compact(), at.take(">Hb")) if at.take(">b") > 0 else None)
    told.append(read_map(at))
    for _ in range(2):
        told.append(sorted((at.compact(), at.take(">iqb")) for _ in range(at.count())))
    for _ in range(2):
        told.append(([read_tasks(at) for _ in range(3)], at.take(">b")))
    return [*told, at.take(">?b")]


def described(answer, version=1):
    """What is said of each group; its members in the order of their names."""
    at = Reader(answer, 9)
    groups = {}
    for _ in range(at.count()):
        code, _, name = at.take(">h"), at.compact(), at.compact()
        groups[name.decode()] = {"code": code, "state": at.compact(), "epochs": at.take(">ii"), "topology": read_topology(at),
                                 "members": sorted(read_member(at) for _ in range(at.count())), "operations": at.take(">i"),
                                 "rest": [at.take(">bb"), at.compact()] if version > 0 else None}
        at.take(">b")
    assert answer[at.at:] == b"\0", answer[at.at:]
    return groups


def describe(*groups, version=1, topology_description=False):
    body = compact_list([compact(g) for g in groups]) + b"\0"
    return frame(89, version, body + (struct.pack(">?", topology_description) if version > 0 else b"") + b"\0", flexible=True)
