"""Configuration that changes while the broker runs: the answers of klamm and of Apache Kafka 4.4.0 must be equal."""
import struct
import time

from peers import Answer, eventually, frame, main, peers, same, stop_peers, test, text
from wire import batch

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def alter(*resources, validate_only=False):
    """IncrementalAlterConfigs v0; each resource: type, name, [(key, operation, value)...]."""
    body = struct.pack(">i", len(resources))
    for kind, name, operations in resources:
        body += struct.pack(">b", kind) + text(name) + struct.pack(">i", len(operations))
        for key, operation, value in operations:
            body += text(key) + struct.pack(">b", operation) + text(value)
    return frame(44, 0, body + struct.pack(">?", validate_only))


def replace(*resources, validate_only=False):
    """AlterConfigs v1; each resource: type, name, {key: value}."""
    body = struct.pack(">i", len(resources))
    for kind, name, values in resources:
        body += struct.pack(">b", kind) + text(name) + struct.pack(">i", len(values))
        for key, value in values.items():
            body += text(key) + text(value)
    return frame(33, 1, body + struct.pack(">?", validate_only))


def describe(kind, name, *keys):
    """DescribeConfigs v1 with synonyms."""
    body = struct.pack(">ib", 1, kind) + text(name) + struct.pack(">i", len(keys)) + b"".join(map(text, keys))
    return frame(32, 1, body + b"\1")


REFUSED = {
    "an unknown topic": (TOPIC, "nowhere", [("retention.ms", SET, "1000")]),
    "no topic": (TOPIC, "", [("retention.ms", SET, "1000")]),
    "a bad topic name": (TOPIC, "a/b", [("retention.ms", SET, "1000")]),
    "an unknown key": (TOPIC, "d", [("nonsense", SET, "1")]),
    "a value that is no number": (TOPIC, "d", [("retention.ms", SET, "abc")]),
    "a value out of range": (TOPIC, "d", [("retention.ms", SET, "-2")]),
    "a choice that is none": (TOPIC, "d", [("cleanup.policy", SET, "burn")]),
    "a list of choices with a wrong one": (TOPIC, "d", [("cleanup.policy", APPEND, "burn")]),
    "no boolean": (TOPIC, "d", [("preallocate", SET, "maybe")]),
    "no value": (TOPIC, "d", [("retention.ms", SET, None)]),
    "an operation on a list": (TOPIC, "d", [("retention.ms", APPEND, "1")]),
    "another operation on a list": (TOPIC, "d", [("retention.ms", SUBTRACT, "1")]),
    "an operation that is none": (TOPIC, "d", [("retention.ms", 9, "1")]),
    "a key twice": (TOPIC, "d", [("retention.ms", SET, "1000"), ("retention.ms", SET, "2000")]),
    "a minimum above the maximum": (TOPIC, "d", [("min.compaction.lag.ms", SET, "10"), ("max.compaction.lag.ms", SET, "5")]),
    "throttled replicas that cannot be read": (TOPIC, "d", [("leader.replication.throttled.replicas", SET, "a:b")]),
    "a good one and a bad one": (TOPIC, "d", [("segment.ms", SET, "5000"), ("retention.ms", SET, "abc")]),
    "no list": (TOPIC, "d", [("cleanup.policy", SET, "")]),
    "another broker": (BROKER, "7", [("log.retention.ms", SET, "1000")]),
    "a broker that is no number": (BROKER, "x", [("log.retention.ms", SET, "1000")]),
    "a negative broker": (BROKER, "-1", [("log.retention.ms", SET, "1000")]),
    "a key that cannot change": (BROKER, "1", [("broker.rack", SET, "a")]),
    "a key that cannot change, for all": (BROKER, "", [("node.id", SET, "3")]),
    "a key for one broker only": (BROKER, "", [("listeners", SET, "PLAINTEXT://:1")]),
    "a broker value that is no number": (BROKER, "1", [("log.retention.ms", SET, "abc")]),
    "a broker value out of range": (BROKER, "", [("message.max.bytes", SET, "-1")]),
    "no broker value": (BROKER, "1", [("log.retention.ms", SET, None)]),
    "min.insync.replicas of one broker": (BROKER, "1", [("min.insync.replicas", SET, "1")]),
    "min.insync.replicas of none": (BROKER, "", [("min.insync.replicas", DELETE, None)]),
    "a list operation of a broker": (BROKER, "", [("log.cleaner.threads", APPEND, "1")]),
    "a throttle below zero": (BROKER, "1", [("leader.replication.throttled.rate", SET, "-1")]),
    "a threshold of threads": (BROKER, "1", [("num.io.threads", SET, "100")]),
    "no threads": (BROKER, "1", [("num.io.threads", SET, "0")]),
    "no group": (GROUP, "", [("consumer.session.timeout.ms", SET, "45000")]),
    "an unknown key of a group": (GROUP, "g", [("nonsense", SET, "1")]),
    "a group value out of bounds": (GROUP, "g", [("consumer.session.timeout.ms", SET, "1")]),
    "a group value above the maximum": (GROUP, "g", [("consumer.heartbeat.interval.ms", SET, "100000")]),
    "a heartbeat longer than the session": (GROUP, "g", [("consumer.session.timeout.ms", SET, "45000"), ("consumer.heartbeat.interval.ms", SET, "15000")]),
    "no subscription": (CLIENT_METRICS, "", [("interval.ms", SET, "1000")]),
    "an unknown key of a subscription": (CLIENT_METRICS, "s", [("nonsense", SET, "1")]),
    "an interval that is too short": (CLIENT_METRICS, "s", [("interval.ms", SET, "1")]),
    "a match that is none": (CLIENT_METRICS, "s", [("match", SET, "nonsense=.*")]),
    "a kind that is none": (77, "d", [("retention.ms", SET, "1000")]),
    "an unknown kind": (0, "d", [("retention.ms", SET, "1000")]),
}


ALTERED = {
    "a topic": (TOPIC, "d", [("retention.ms", SET, "1000"), ("cleanup.policy", SET, "compact")]),
    "a list that grows": (TOPIC, "d", [("cleanup.policy", APPEND, "delete,compact")]),
    "a list that shrinks": (TOPIC, "d", [("cleanup.policy", SUBTRACT, "compact")]),
    "a list that grows from its default": (TOPIC, "d", [("leader.replication.throttled.replicas", APPEND, "0:1,1:1")]),
    "a key that goes": (TOPIC, "d", [("retention.ms", DELETE, None)]),
    "the same again": (TOPIC, "d", [("cleanup.policy", SET, "delete")]),
    "min.insync.replicas": (TOPIC, "d", [("min.insync.replicas", SET, "2")]),
    "all brokers": (BROKER, "", [("log.retention.ms", SET, "700000"), ("log.segment.bytes", SET, "2000000"), ("message.max.bytes", SET, "2000000")]),
    "one broker": (BROKER, "1", [("log.retention.ms", SET, "800000"), ("leader.replication.throttled.rate", SET, "1000000")]),
    "a list of all brokers": (BROKER, "", [("log.cleanup.policy", APPEND, "compact")]),
    "a key that nobody knows": (BROKER, "", [("nobody.knows", SET, "1")]),
    "a group": (GROUP, "g", [("consumer.session.timeout.ms", SET, "50000"), ("share.auto.offset.reset", SET, "earliest")]),
    "a subscription": (CLIENT_METRICS, "s", [("interval.ms", SET, "1000"), ("metrics", SET, "a,b"), ("match", SET, "client_id=x.*")]),
}
DESCRIBED = [(TOPIC, "d"), (BROKER, "", ), (BROKER, "1", "log.retention.ms", "log.segment.bytes", "log.cleanup.policy", "message.max.bytes",
             "leader.replication.throttled.rate", "min.insync.replicas"), (GROUP, "g"), (CLIENT_METRICS, "s")]


def entries(answer):
    """Of a DescribeConfigs answer v1: the error, and what is said of each key."""
    answer = Answer(answer, 12)
    take, string = answer.take, answer.text
    found = {"error": (take(">h"), string())}
    take(">b"), string()
    for _ in range(take(">i")):
        key = string()
        found[key] = (string(), take(">?b?"), [(string(), string(), take(">b")) for _ in range(take(">i"))])
    return found


@test
def changes_that_are_refused():
    for what, resource in REFUSED.items():
        same(what, alter(resource))
        same(what + ", only tried", alter(resource, validate_only=True))
    for what, (kind, name, operations) in REFUSED.items():
        same(what + ", as a whole", replace((kind, name, {key: value for key, _, value in operations if value is not None}), validate_only=True))


@test
def some_of_several_are_refused():
    good, bad, worse = (TOPIC, "d", [("retention.ms", SET, "5000")]), REFUSED["no value"], REFUSED["a kind that is none"]
    same("bad, good, worse", alter((TOPIC, "nowhere", bad[2]), good, worse))
    same("the same resource twice", alter(good, good))


def described_alike(what):
    """Within some seconds: a broker takes over what the controller has decided a little later."""
    for resource in DESCRIBED:
        def alike():
            try:
                same("", describe(*resource), entries)
                return True
            except AssertionError:
                return time.monotonic() > deadline
        deadline = time.monotonic() + 5
        eventually(alike)
        same(f"{resource} after {what}", describe(*resource), entries)


def but_for_places(answer):
    """What two brokers on one machine cannot have in common, and what one of them has besides, left out."""
    return {key: value for key, value in entries(answer).items()
            if not key.startswith("klamm.") and not any(word in key for word in ("listeners", "log.dir", "quorum.voters"))}


@test
def every_key_of_a_broker_is_told_alike():
    same("all keys of the broker", frame(32, 1, struct.pack(">ib", 1, BROKER) + text("1") + struct.pack(">i", -1) + b"\1"), but_for_places)


@test
def changes_are_seen_by_all_who_ask():
    described_alike("nothing")
    for what, resource in ALTERED.items():
        same(what + ", only tried", alter(resource, validate_only=True))
        same(what, alter(resource))
        for peer in peers():
            kind, name, operations = resource
            key, operation, value = operations[0]
            if operation in (SET, APPEND):
                seen = key if key == "nobody.knows" else value.split(",")[-1]  # what nobody knows may be secret
                eventually(lambda p=peer: seen.encode() in p.ask(describe(kind, name, key)), what=f"{what} at {peer.broker.kind}")
        described_alike(what)
    same("the names of all", frame(74, 1, b"\1\0", flexible=True), lambda answer: bytes(sorted(answer)))


@test
def what_is_not_named_goes():
    same("a topic as a whole", replace((TOPIC, "d", {"segment.bytes": "3000000"})))
    same("all brokers", replace((BROKER, "", {"log.retention.ms": "600000", "min.insync.replicas": "1"})))
    for peer in peers():
        eventually(lambda p=peer: b"3000000" in p.ask(describe(TOPIC, "d", "segment.bytes")))
        eventually(lambda p=peer: b"2000000" not in p.ask(describe(BROKER, "1", "message.max.bytes")))
        eventually(lambda p=peer: b"600000" in p.ask(describe(BROKER, "1", "log.retention.ms")))
    described_alike("a replacement")


def varint(value):
    return bytes([value & 0x7F | 0x80, value >> 7])  # of 128 to 16383


@test
def a_topic_obeys_at_once():
    """max.message.bytes as every producer feels it."""
    record = b"\0\0\0\1" + varint(2 * 2000) + b"v" * 2000 + b"\0"
    big = batch(records=varint(2 * len(record)) + record)
    body = text(None) + struct.pack(">hi", 1, 5000) + struct.pack(">i", 1) + text("d") + struct.pack(">ii", 1, 0) + struct.pack(">i", len(big)) + big
    for value in ("1000", "100000"):
        same("max.message.bytes", alter((TOPIC, "d", [("max.message.bytes", SET, value)])))
        for peer in peers():
            eventually(lambda p=peer: value.encode() in p.ask(describe(TOPIC, "d", "max.message.bytes")))
        code = struct.pack(">h", 10 if value == "1000" else 0)
        for peer in peers():
            eventually(lambda p=peer: p.ask(frame(0, 3, body))[19:21] == code, 10, f"{value} at {peer.broker.kind}")


try:
    main()
finally:
    stop_peers()
