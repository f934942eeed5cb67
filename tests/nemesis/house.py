"""A cluster of real processes that may be hurt: on one machine, or each node on one of its own. Decides nothing."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cluster.client.cluster import RemoteCluster
from cluster.client.line import HeadLine
from cluster.client.reach import attach_by
from cluster.client.shipping import shipping_by
from cluster.runtime.keys import ClusterKeys
from cluster.runtime.place import DEFAULT_NAME, ClusterPlace, place_of_cluster
from cluster.runtime.states import NodeState
from tests.cluster.cluster_command import GONE_S, ClusterCommand, shared_memory, user_at_home
from tests.cluster.private_world import Host, network
from tests.nemesis.injections import NUM_NODES, Where

PORT = 7077
_LOG = '[log]\nlevel = "info"\nformat = "json"\n'


class LeftBehind(Exception):
    """Something of a cluster that has ended is still there."""


@dataclass(slots=True)
class House:
    """`users`: who is at each machine, the head's first; `hosts` likewise, where they have networks of their own."""

    where: Where
    users: tuple[ClusterCommand, ...]
    hosts: tuple[Host, ...] = ()
    pids: dict[str, int] = field(default_factory=dict)  # by node: members, as they were last seen
    _cluster: RemoteCluster | None = None

    @property
    def cluster(self) -> RemoteCluster:
        """The cluster as one client sees it, which connects anew after `start`."""
        assert self._cluster is not None, "it has not been started"
        return self._cluster

    @property
    def folder(self) -> Path:
        """Where files may be written."""
        return self.users[0].home

    def nodes(self) -> Mapping[str, NodeState]:
        """Return the members, by name."""
        states = {str(state.view.node_id): state for state in self.cluster.node_states()}
        self.pids.update({name: state.pid for name, state in states.items()})
        return states

    def node_name(self, number: int) -> str:
        return f"node-{number + 1}"

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.pids[name], number)

    def host(self, number: int) -> Host:
        """Return the machine of a node."""
        return self.hosts[number + 1]

    def gone_unix_s(self, name: str, since_unix_s: float) -> float | None:
        """Return when the head gave a node up, after `since_unix_s`, as it says in its log; None: it has not."""
        for line in place_of(self.users[0]).log.read_text().splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "node gone" and said["node"] == name:
                at_unix_s = datetime.fromisoformat(said["timestamp"]).timestamp()
                if at_unix_s >= since_unix_s:
                    return at_unix_s
        return None

    def start(self) -> None:
        """Start the head, and with it the nodes that are its own; connect to it."""
        self.close()
        if self.where is Where.ONE:
            self.users[0]("start", "--nodes", str(NUM_NODES))
        else:
            self.users[0]("start", "--nodes", "0", "--address", self._address())
        self._cluster = client_of(self.users[0])

    def kill_head(self) -> None:
        """Kill the head; when this returns, it is gone, with the nodes that are its own and the files of them all."""
        os.kill(self.cluster.head_pid, signal.SIGKILL)
        if self.where is Where.ONE:
            self.users[0].wait_gone()
        elif not place_of(self.users[0]).wait_ended(
            GONE_S
        ):  # alone on its machine: its files stay until its next start
            raise LeftBehind("the head outlived SIGKILL")

    def stop(self) -> None:
        """End the cluster as its user would."""
        self.close()
        self.users[0]("stop")

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def join_all(self) -> None:
        """Let every machine but the head's join, by a token each."""
        for number, user in enumerate(self.users[1:]):
            token = self.users[0]("token").strip().splitlines()[-1]
            user("join", self._address(), "--token", token, "--node", self.node_name(number))

    def rejoin(self, number: int) -> None:
        """Start the node of a machine anew, as its init system would."""
        self.users[number + 1]("join", self._address(), "--node", self.node_name(number))

    def _address(self) -> str:
        return f"tcp://{self.hosts[0].address}:{PORT}"


@contextmanager
def house(where: Where, switch: str) -> Iterator[House]:
    """Give a cluster of NUM_NODES nodes that all are members; raises LeftBehind where it leaves anything at its end."""
    memory = shared_memory()
    with ExitStack() as stack:
        hosts: tuple[Host, ...] = ()
        if where is Where.MACHINES:
            hosts = stack.enter_context(network(switch, ["head", *(f"n{number}" for number in range(NUM_NODES))]))
        prefixes: list[tuple[str, ...]] = [host.prefix() for host in hosts] or [()]
        users = tuple(stack.enter_context(user_at_home(prefix)) for prefix in prefixes)
        (users[0].home / "sage.toml").write_text(_LOG)
        hurt = House(where, users, hosts)
        stack.callback(hurt.close)
        hurt.start()
        hurt.join_all()
        yield hurt
        hurt.stop()
        for user in users:
            user.wait_gone()
        for host in hosts:
            _expect_none(host.ports(), f"{host.name} still listens")
        _expect_none(sorted(shared_memory() - memory), "shared memory is left")


def client_of(user: ClusterCommand, *, reconnect_s: float = 0.0) -> RemoteCluster:
    """Connect to the cluster that a user has started; whoever waits looks so long for a head that was lost."""
    beacon = place_of(user).beacon()
    assert beacon is not None, "no cluster runs"
    keys = ClusterKeys(user.home / ".config/sage/clusters" / DEFAULT_NAME)
    line = HeadLine(attach_by(beacon.control), where=beacon.control, reconnect_s=reconnect_s)
    return RemoteCluster(line, line.greet("nemesis"), shipping_by(keys.signing()), where=beacon.control)


def place_of(user: ClusterCommand) -> ClusterPlace:
    """Return where the cluster is that a user has started, or may start."""
    return place_of_cluster(DEFAULT_NAME, user.environ())


def _expect_none(left: list[str], what: str) -> None:
    if left:
        raise LeftBehind(f"{what}: {left}")
