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


def faults(history, final):
    """What is wrong, in words; `final` is what the healed cluster holds: partition -> offset -> value."""
    found = []
    place = {}
    for partition, records in final.items():
        last = {}
        for offset, value in sorted(records.items()):
            if value in place:
                found.append(f"{value} is there twice: {place[value]} and {(partition, offset)}")
            place[value] = (partition, offset)
            if value not in history.written:
                found.append(f"{value} at {(partition, offset)} was never written")
            writer, number = value.split(":")
            if int(number) <= last.get(writer, -1):
                found.append(f"{value} at {(partition, offset)} comes behind {writer}:{last[writer]}")
            last[writer] = int(number)
    for value, (partition, offset) in history.acked.items():
        if value not in place:
            found.append(f"{value} was acknowledged and is lost")
        elif place[value][0] != partition or offset not in (-1, place[value][1]):
            found.append(f"{value} was acknowledged at {(partition, offset)} and is at {place[value]}")
    for (partition, offset), values in history.read.items():
        held = final.get(partition, {}).get(offset)
        for value in values - {held}:
            found.append(f"a reader saw {value} at {(partition, offset)}, where {held} is now")
    return found
