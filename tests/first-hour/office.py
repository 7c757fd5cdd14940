"""One network: the server, and each of the others behind a cable of its own. Nothing leads out."""

from namespaces import Namespaces, ip

ADDRESSES = {"phone": "192.0.2.101", "trunk": "192.0.2.10", "attacker": "192.0.2.66"}
SERVER = "192.0.2.1"


class Office(Namespaces):
    """A bridge at the server that everyone else is plugged into."""

    def build(self):
        """The bridge, and a cable for each place."""
        self.add("server")
        server = self.name("server")
        ip("-n", server, "link", "add", "lan", "type", "bridge")
        self.address("server", "lan", f"{SERVER}/24")
        for place, address in ADDRESSES.items():
            self.add(place)
            self.cable("server", place, place)
            ip("-n", server, "link", "set", place, "master", "lan", "up")
            self.address(place, "lan", f"{address}/24")
