"""Servers that belong together: a cluster, and a primary that Sentinels watch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis

from openalgo_cache.settings import Sentinels
from tests.servers.process import HOST, Login, ServerProcess, free_port, wait_until
from tests.servers.programs import Program

_SLOTS: Final = 16_384
_PRIMARIES: Final = 3


class Group:
    """Several servers.

    Attributes:
        servers: All that hold entries.
    """

    servers: list[ServerProcess]

    def stop(self) -> None:
        """End all of them at once: in good order, primaries wait for their replicas."""
        for server in self.servers:
            server.kill()


class Cluster(Group):
    """Six servers that form a cluster: three primaries and a replica of each.

    Args:
        program: What to run.
        folder: An empty folder.
        node_timeout: Milliseconds after which a silent node is taken for dead.
        options: More lines of their configuration.
        login: As for ServerProcess.
        users: Likewise.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        *,
        node_timeout: int = 2000,
        options: Mapping[str, str] | None = None,
        login: Login | None = None,
        users: tuple[str, ...] = (),
    ) -> None:
        self.servers = []
        self._buses: dict[int, int] = {}
        for number in range(2 * _PRIMARIES):
            place = folder / str(number)
            place.mkdir()
            bus = free_port()
            lines = {
                "cluster-enabled": "yes",
                "cluster-config-file": "nodes.conf",
                "cluster-node-timeout": str(node_timeout),
                "cluster-port": str(bus),
                "cluster-allow-reads-when-down": "yes",
                "cluster-require-full-coverage": "no",
                "repl-diskless-sync-delay": "0",
                "repl-ping-replica-period": "1",  # a replica that has heard nothing yet is not listed
                **(options or {}),
            }
            server = ServerProcess(program, place, lines, login=login, users=users)
            self.servers.append(server)
            self._buses[server.port] = bus

    def start(self) -> Cluster:
        """Start and join them; return when each of them knows all others, and every slot is served."""
        for server in self.servers:
            server.start()
        primaries, replicas = self.servers[:_PRIMARIES], self.servers[_PRIMARIES:]
        for number, server in enumerate(self.servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < _PRIMARIES:
                first, last = (_SLOTS * edge // _PRIMARIES for edge in (number, number + 1))
                server.ask("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for other in self.servers[1:]:
            primaries[0].ask("CLUSTER", "MEET", HOST, other.port, self._buses[other.port])
        wait_until(
            lambda: all(self._known(server) == len(self.servers) for server in self.servers), "the nodes to meet"
        )
        for primary, replica in zip(primaries, replicas, strict=True):
            identity = primary.ask("CLUSTER", "MYID")
            replica.ask("CLUSTER", "REPLICATE", identity.decode())
        wait_until(self._is_whole, "the cluster to be whole")
        return self

    @property
    def primaries(self) -> list[ServerProcess]:
        """Those that are primaries at the moment; which these are changes when one fails."""
        return [server for server in self.servers if server.ask("ROLE")[0] == b"master"]

    def settings(self, name: str | None = None) -> dict[str, Any]:
        """Return what ``Settings`` needs to find it; see ServerProcess."""
        prefix = name or self.servers[0].program.brand
        return self.servers[0].settings(name) | {f"{prefix}_cluster": True}

    def _is_whole(self) -> bool:
        for server in self.servers:
            replication = server.ask("INFO", "replication")
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
            slots = server.ask("CLUSTER SLOTS")
            if server.ask("CLUSTER INFO")["cluster_state"] != "ok" or len(slots) != _PRIMARIES:
                return False
            if any(len(nodes) != 2 for _, _, *nodes in slots):
                return False
        return True

    @staticmethod
    def _known(server: ServerProcess) -> int:
        """Return how many nodes a server has met."""
        nodes: dict[str, dict[str, Any]] = server.ask("CLUSTER NODES")
        return sum("handshake" not in node["flags"] for node in nodes.values())


class SentinelGroup(Group):
    """A primary, its replicas, and Sentinels that watch over them.

    Args:
        program: What to run.
        folder: An empty folder.
        replicas: How many replicas there are.
        sentinels: How many Sentinels; the greater half of them decides.
        login: As for ServerProcess; the Sentinels themselves ask for nothing.
    """

    service: Final = "openalgo-tests"

    def __init__(
        self,
        program: Program,
        folder: Path,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        login: Login | None = None,
    ) -> None:
        self.servers = []
        for number in range(1 + replicas):
            place = folder / f"server-{number}"
            place.mkdir()
            options: dict[str, str | list[str]] = {"repl-diskless-sync-delay": "0"}
            if number:
                options["replicaof"] = f"{HOST} {self.servers[0].port}"
            if login is not None:
                options["masterauth"] = login.password
            self.servers.append(ServerProcess(program, place, options, login=login))
        self.sentinels: list[ServerProcess] = []
        for number in range(sentinels):
            place = folder / f"sentinel-{number}"
            place.mkdir()
            watched = [
                f"monitor {self.service} {HOST} {self.servers[0].port} {sentinels // 2 + 1}",
                f"down-after-milliseconds {self.service} 1000",
                f"failover-timeout {self.service} 3000",
            ]
            if login is not None:
                watched.append(f"auth-pass {self.service} {login.password}")
            self.sentinels.append(ServerProcess(program, place, {"sentinel": watched}, sentinel=True))

    def start(self) -> SentinelGroup:
        """Start them; return when the replicas follow and every Sentinel knows all others."""
        for server in self.servers:
            server.start()
        replicas = len(self.servers) - 1
        wait_until(lambda: self._online() == replicas, "the replicas")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), "the Sentinels to find each other")
        return self

    def stop(self) -> None:
        """End all of them, those that watch first."""
        for sentinel in self.sentinels:
            sentinel.kill()
        super().stop()

    @property
    def primary(self) -> ServerProcess:
        """The primary by the word of a Sentinel."""
        for sentinel in self.sentinels:
            try:
                address = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            except redis.ConnectionError:
                continue
            return next(server for server in self.servers if server.port == int(address[1]))
        raise AssertionError("no Sentinel answers")

    def settings(self, name: str | None = None) -> dict[str, Any]:
        """Return what ``Settings`` needs to find it; see ServerProcess."""
        prefix = name or self.servers[0].program.brand
        found = self.servers[0].settings(name)
        del found[f"{prefix}_host"], found[f"{prefix}_port"]
        addresses = tuple((HOST, sentinel.port) for sentinel in self.sentinels)
        return found | {f"{prefix}_sentinels": Sentinels(self.service, addresses)}

    def _online(self) -> int:
        """Return how many replicas follow the first server."""
        replication = self.servers[0].ask("INFO", "replication")
        return sum(isinstance(found, dict) and found.get("state") == "online" for found in replication.values())

    def _knows_all(self, sentinel: ServerProcess) -> bool:
        others = len(sentinel.ask("SENTINEL", "SENTINELS", self.service))
        replicas = len(sentinel.ask("SENTINEL", "REPLICAS", self.service))
        return others == len(self.sentinels) - 1 and replicas == len(self.servers) - 1
