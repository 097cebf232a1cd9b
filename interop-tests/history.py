"""What clients did and were told, and whether a cluster may say so. Pure: no clock, no network.

A value is `writer:number`; a writer writes the numbers 0, 1, 2, ... each once and in their order."""
import dataclasses


@dataclasses.dataclass
class History:
    written: set = dataclasses.field(default_factory=set)  # values that were sent
    acked: dict = dataclasses.field(default_factory=dict)  # value -> (partition, offset; -1 when it was not told)
    read: dict = dataclasses.field(default_factory=dict)   # (partition, offset) -> the values that readers saw there

    def ack(self, value, partition, offset):
        self.acked[value] = (partition, offset)

    def see(self, partition, offset, value):
        self.read.setdefault((partition, offset), set()).add(value)


def faults(history, final, producers=None):
    """What is wrong, in words; `final` is what the healed cluster holds: partition -> offset -> value, and `producers` who wrote it:
    (partition, offset) -> (producer id, epoch).

    A broker knows a batch again by the epoch of its producer. librdkafka begins a new one, for all partitions, when a broker refuses
    a sequence of one, and writes again what it has not heard of on the others: there it may be twice, in order within each epoch."""
    producers, found, places = producers or {}, [], {}
    for partition, records in final.items():
        last = {}
        for offset, value in sorted(records.items()):
            here, (writer, number) = (partition, offset), value.split(":")
            epoch = producers.get(here)
            found += [f"{value} is there twice: {place} and {here}" for place in places.get(value, []) if producers.get(place) == epoch]
            places.setdefault(value, []).append(here)
            if value not in history.written:
                found.append(f"{value} at {here} was never written")
            if int(number) <= last.get((writer, epoch), -1):
                found.append(f"{value} at {here} comes behind {writer}:{last[writer, epoch]}")
            last[writer, epoch] = int(number)
    for value, (partition, offset) in history.acked.items():
        if value not in places:
            found.append(f"{value} was acknowledged and is lost")
        elif not any(partition == there and offset in (-1, at) for there, at in places[value]):
            found.append(f"{value} was acknowledged at {(partition, offset)} and is at {places[value]}")
    for (partition, offset), values in history.read.items():
        held = final.get(partition, {}).get(offset)
        for value in values - {held}:
            found.append(f"a reader saw {value} at {(partition, offset)}, where {held} is now")
    return found


COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"


@dataclasses.dataclass
class Transactions:
    """A writer's transactions are numbered 0, 1, 2, ...; the values of one are `writer:number:index`."""
    values: dict = dataclasses.field(default_factory=dict)    # (writer, number) -> its values, in the order of writing
    outcomes: dict = dataclasses.field(default_factory=dict)  # (writer, number) -> what the writer was told; nothing: it was not
    read: dict = dataclasses.field(default_factory=dict)      # what readers of committed records saw, as in History
    shared: list = dataclasses.field(default_factory=list)    # (member of a share group, whether it knows that it has acknowledged, value)

    def see(self, partition, offset, value):
        self.read.setdefault((partition, offset), set()).add(value)

    def count(self, outcome):
        return sum(told == outcome for told in self.outcomes.values())


def transaction_of(value):
    writer, number, _ = value.split(":")
    return writer, int(number)


def faults_of_transactions(history, final):
    """What is wrong, in words; `final` is what readers of committed records find in the healed cluster."""
    found, place = [], {}
    for partition, records in final.items():
        last = {}
        for offset, value in sorted(records.items()):
            if value in place:
                found.append(f"{value} is there twice: {place[value]} and {(partition, offset)}")
            place[value] = (partition, offset)
            writer, number = transaction_of(value)
            if number < last.get(writer, -1):
                found.append(f"{value} at {(partition, offset)} comes behind transaction {last[writer]}")
            last[writer] = number
    for transaction, values in history.values.items():
        there = [value for value in values if value in place]
        outcome = history.outcomes.get(transaction, UNKNOWN)
        if outcome == ABORTED and there:
            found.append(f"{transaction} was aborted, and readers see {len(there)} of {len(values)} records")
        elif outcome == COMMITTED and len(there) < len(values):
            found.append(f"{transaction} was committed, and {len(values) - len(there)} of {len(values)} records are lost")
        elif 0 < len(there) < len(values):
            found.append(f"{transaction} is torn: {len(there)} of {len(values)} records are there")
    for (partition, offset), values in history.read.items():
        held = final.get(partition, {}).get(offset)
        for value in values - {held}:
            found.append(f"a reader of committed records saw {value} at {(partition, offset)}, where {held} is now")
    return found + faults_of_sharing(history, place)


def faults_of_sharing(history, place):
    """Of a share group that reads committed records: each is given out, and to nobody any more once it is acknowledged."""
    found, acked = [], {}
    for member, is_sure, value in history.shared:
        if value not in place:
            found.append(f"a share group was given {value}, which is not there")
        if is_sure:
            if value in acked:
                found.append(f"{value} was acknowledged twice, by {acked[value]} and {member}")
            acked[value] = member
    given = {value for _, _, value in history.shared}
    missing = [value for value in place if value not in given] if history.shared else []
    if missing:
        found.append(f"{len(missing)} records were never given to a share group, such as {missing[:3]}")
    return found
