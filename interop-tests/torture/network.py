"""A network of its own for each node: Linux namespaces on one bridge, whose links are cut one way or both."""
import subprocess


def sh(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Network:
    """Namespaces klamm-1, klamm-2, ... with the addresses 10.77.0.1, ...; this side is OUTSIDE. Wants root."""

    BRIDGE = "klamm-br"
    OUTSIDE = "10.77.0.254"
    PASS = ["FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"]

    def __init__(self, count):
        self.count = count

    @staticmethod
    def name(node):
        return f"klamm-{node}"

    @staticmethod
    def address(node):
        return f"10.77.0.{node}"

    def inside(self, node, *command):
        return ["ip", "netns", "exec", self.name(node), *command]

    def __enter__(self):
        self.take_down()
        sh("ip", "link", "add", self.BRIDGE, "type", "bridge")
        sh("ip", "address", "add", self.OUTSIDE + "/24", "dev", self.BRIDGE)
        sh("ip", "link", "set", self.BRIDGE, "up")
        # Where Docker lives, what is bridged goes through a chain that drops by default.
        sh("iptables", "-I", *self.PASS)
        for node in range(1, self.count + 1):
            space, here = self.name(node), f"klamm-v{node}"
            sh("ip", "netns", "add", space)
            sh("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", space)
            sh("ip", "link", "set", here, "master", self.BRIDGE, "up")
            sh(*self.inside(node, "ip", "address", "add", self.address(node) + "/24", "dev", "eth0"))
            sh(*self.inside(node, "ip", "link", "set", "eth0", "up"))
            sh(*self.inside(node, "ip", "link", "set", "lo", "up"))
        return self

    def __exit__(self, *_):
        self.take_down()

    def take_down(self):
        for node in range(1, self.count + 1):
            sh("ip", "netns", "del", self.name(node), check=False)
            sh("ip", "link", "del", f"klamm-v{node}", check=False)  # outlives a process that is left inside
        sh("ip", "link", "del", self.BRIDGE, check=False)
        sh("iptables", "-D", *self.PASS, check=False)

    def cut(self, sender, receiver):
        """Nothing gets from one node to the other; the way back stays."""
        sh(*self.inside(receiver, "iptables", "-A", "INPUT", "-s", self.address(sender), "-j", "DROP"))

    def isolate(self, node):
        """The node reaches no other node, nor they it; clients still do."""
        for other in range(1, self.count + 1):
            if other != node:
                self.cut(node, other)
                self.cut(other, node)

    def heal(self):
        for node in range(1, self.count + 1):
            sh(*self.inside(node, "iptables", "-F", "INPUT"))
