"""The server between two private networks, one phone in each.

Nothing forwards between the two networks, so a request that did not pass through the server
would be lost.
"""

from namespaces import Namespaces

NETWORKS = {"alice": "10.201.1", "bob": "10.201.2"}


class Network(Namespaces):
    """Server and phones, each with its own interfaces."""

    def build(self):
        """A cable from the server to each phone."""
        self.add("server")
        for phone, network in NETWORKS.items():
            self.add(phone)
            self.cable("server", phone, phone)
            self.address("server", phone, f"{network}.1/24")
            self.address(phone, "lan", f"{network}.2/24")

    @staticmethod
    def server_addresses():
        """The server's address in each network."""
        return [f"{network}.1" for network in NETWORKS.values()]
