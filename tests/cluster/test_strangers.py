"""A running cluster that other machines may reach, and everybody who should get nothing from it."""

import os
import socket as sockets
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest

from cluster.client.dial import check_dial
from cluster.head.config import HeadConfig
from cluster.runtime.addresses import TcpAddress, parse_address
from cluster.runtime.allow_list import Role
from cluster.runtime.control import CONTROL_WIRE, Heartbeat, Join, PeerAddress
from cluster.runtime.control_clients import (
    CancelFlow,
    DrainNode,
    GetLogs,
    GetResults,
    Greet,
    ListJobs,
    ListNodes,
    StopCluster,
)
from cluster.runtime.curve import ClientTrust
from cluster.runtime.enrolment import Enrol, enrol
from cluster.runtime.join_token import parse_token
from cluster.runtime.keys import ClusterKeys, new_curve_keys
from sage.base.clock import SystemClock
from sage.base.ids import JobId, NodeId
from sage.base.offer import NodeOffer
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.keyed_peer import KeyedPeer
from tests.cluster.port_scan import listening_ports, scan_process

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

WAIT_S = 10.0
NUM_HALF_OPEN = 400


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster with two nodes and an engine, at an address for others."""

    user: ClusterCommand
    address: str
    pid: int

    @property
    def keys(self) -> ClusterKeys:
        return ClusterKeys(self.user.home / ".config/sage/clusters/default")

    @property
    def head_key(self) -> str:
        return self.keys.curve("head").public_key

    def token(self, role: Role) -> str:
        return self.user("token", "--role", role.value).strip().splitlines()[-1]

    def enrolled(self, role: Role, folder: Path) -> ClientTrust:
        """Return by what a machine connects that has joined in this role."""
        keys = ClusterKeys(folder / f"keys-{role.value}")
        enrol(parse_token(self.token(role)), keys, f"a-{role.value}", SystemClock())
        return ClientTrust(keys.curve(role.value), self.head_key)

    def is_well(self) -> bool:
        """Say whether a client that may is still served, by the same head, with all its nodes."""
        status = self.user.json("status")
        return (status["head_pid"], status["nodes"]) == (self.pid, 2)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with user_at_home() as user:
        with sockets.create_server(("127.0.0.1", 0)) as free:
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        user("start", "--nodes", "2", "--address", address, "--engine", "simulated:h100,model=sim")
        yield Running(user, address, user.json("status")["head_pid"])
        user("stop")
        user.wait_gone()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_stranger_gets_nothing_from_any_port_of_a_running_cluster(running: Running) -> None:
    ports, before = listening_ports(running.pid), running.user.json("status")["refused"]
    assert len(ports) == 3, "the head's, and a data port of each node"
    assert {port.host for port in ports} == {"127.0.0.1"}
    assert scan_process(running.pid, running.head_key) == {port: [] for port in ports}
    assert running.user.json("status")["refused"] >= before + 5, "strangers are counted"
    assert running.is_well()


def test_every_socket_file_is_in_a_folder_that_its_user_alone_may_enter(running: Running) -> None:
    processes = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    paths = {str(connection.laddr) for process in processes for connection in process.net_connections(kind="unix")} - {
        ""
    }
    assert {Path(path).name for path in paths} >= {"control", "engine-1"}, "the head's and the engine host's"
    for path in paths:
        assert path.startswith("/"), f"{path!r} is open to every process of this machine"
        folder = Path(path).parent.stat()
        assert (folder.st_uid, stat.S_IMODE(folder.st_mode)) == (os.getuid(), 0o700), path


def test_four_hundred_half_open_handshakes_hold_nobody_up(running: Running, stack: ExitStack) -> None:
    where = parse_address(running.address)
    assert isinstance(where, TcpAddress)
    for number in range(NUM_HALF_OPEN):
        half_open = stack.enter_context(sockets.create_connection((where.host, where.port or 0), WAIT_S))
        if number % 2:
            half_open.sendall(b"\xff\0\0\0\0\0\0\0\1\x7f\3\0CURVE")
    trust = ClientTrust(running.keys.curve("client"), running.head_key)
    with KeyedPeer(running.address, trust) as client:
        client.say(Greet(1, "good"))
        answer = client.hear(WAIT_S)
        assert answer is not None
        assert "Greeting" in answer.text
    assert running.is_well()


def test_who_may_come_in_is_not_counted_for_a_look_whether_anybody_is_there(running: Running, tmp_path: Path) -> None:
    trust, where = running.enrolled(Role.CLIENT, tmp_path), parse_address(running.address)
    assert isinstance(where, TcpAddress)
    before = running.user.json("status")["refused"]
    for _ in range(3):
        check_dial(where, running.address, trust)
    assert running.user.json("status")["refused"] == before
    check_dial(where, running.address, None)
    assert running.user.json("status")["refused"] == before + 1


def test_a_token_lets_in_once(running: Running, tmp_path: Path) -> None:
    token = parse_token(running.token(Role.NODE))
    with KeyedPeer(running.address, ClientTrust(token.keys, running.head_key)) as newcomer:
        newcomer.say(Enrol("first", new_curve_keys().public_key))
        assert newcomer.hear(WAIT_S) is not None
    with KeyedPeer(running.address, ClientTrust(token.keys, running.head_key)) as thief:
        assert not thief.is_let_in(WAIT_S)
    assert running.user.json("status")["refused"] >= 1
    assert running.is_well()


def test_a_node_gives_no_orders_and_a_client_is_no_node(running: Running, tmp_path: Path) -> None:
    node, client = (running.enrolled(role, tmp_path) for role in (Role.NODE, Role.CLIENT))
    join = Join(
        "mine", "instance", 1, "host", NodeOffer(cpus=64.0, memory_bytes=1), PeerAddress("tcp://127.0.0.1:1"), 1
    )
    job = JobId("job-1")
    not_a_nodes = (StopCluster(1), CancelFlow(1, job), DrainNode(1, NodeId("a")), GetLogs(1, job), GetResults(1, job))
    for trust, message in (*((node, order) for order in not_a_nodes), (client, join), (client, Heartbeat(1))):
        with KeyedPeer(running.address, trust) as peer:
            peer.say(message)
            answer = peer.hear(WAIT_S)
            assert answer is not None
            assert f"may not say {type(message).__name__}" in answer.text
            peer.say(Greet(2, "once more"))
            assert peer.hear(0.3) is None, "whoever broke the protocol is heard no more"
    assert running.is_well()


def test_a_node_may_ask_how_the_cluster_is(running: Running, tmp_path: Path) -> None:
    with KeyedPeer(running.address, running.enrolled(Role.NODE, tmp_path)) as peer:
        for message, answer in ((Greet(1, "a node"), "Greeting"), (ListNodes(2), "NodeList"), (ListJobs(3), "JobList")):
            peer.say(message)
            said = peer.hear(WAIT_S)
            assert said is not None
            assert answer in said.text
    assert running.is_well()


def test_a_node_that_names_another_key_for_its_records_is_refused(running: Running, tmp_path: Path) -> None:
    other = PeerAddress("tcp://127.0.0.1:1", new_curve_keys().public_key)
    with KeyedPeer(running.address, running.enrolled(Role.NODE, tmp_path)) as peer:
        peer.say(Join("mine", "instance", 1, "host", NodeOffer(cpus=64.0, memory_bytes=1), other, 1))
        answer = peer.hear(WAIT_S)
    assert answer is not None
    assert "by another key than its own" in answer.text
    assert running.is_well()


def test_a_message_that_is_replayed_ends_its_connection(running: Running) -> None:
    trust = ClientTrust(running.keys.curve("client"), running.head_key)
    with KeyedPeer(running.address, trust) as client:
        client.say(Greet(1, "good"))
        assert client.hear(WAIT_S) is not None
        asked = client.say(ListJobs(2))
        assert client.hear(WAIT_S) is not None
        client.send(asked)
        answer = client.hear(WAIT_S)
        assert answer is not None
        assert "message 2" in answer.text
        assert "twice" in answer.text
        client.say(ListJobs(3))
        assert client.hear(0.3) is None
    assert running.is_well()


def test_a_peer_of_another_wire_version_is_refused_by_name_with_a_token_and_with_a_key(running: Running) -> None:
    token = parse_token(running.token(Role.NODE))
    for keys in (token.keys, running.keys.curve("client")):
        with KeyedPeer(running.address, ClientTrust(keys, running.head_key)) as peer:
            peer.send([msgspec.msgpack.encode([CONTROL_WIRE + 1, {"all": "new"}]), b"\xc0"])
            answer = peer.hear(WAIT_S)
        assert answer is not None
        assert f"wire version {CONTROL_WIRE + 1} of control, this one {CONTROL_WIRE}" in answer.text
    assert running.is_well()


def test_a_client_of_the_cluster_has_no_way_to_the_data_ports_of_nodes(running: Running) -> None:
    """They let in only the nodes of a run, each by its key."""
    data_ports = [port for port in listening_ports(running.pid) if port.pid != running.pid]
    assert len(data_ports) == 2
    for port in data_ports:
        for server_key in (running.keys.curve("node-1").public_key, running.keys.curve("node-2").public_key):
            with KeyedPeer(port.url(), ClientTrust(running.keys.curve("client"), server_key)) as peer:
                assert not peer.is_let_in(WAIT_S)
    assert running.is_well()


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:7077", "tcp://*:7077", "tcp://[::]:7077"])
def test_a_head_without_keys_does_not_start_beyond_this_machine(address: str) -> None:
    with user_at_home() as user:
        folder = user.home / "run" / "head"
        folder.mkdir(mode=0o700)
        config = msgspec.json.encode(HeadConfig("open", str(folder), 0, listen=address)).decode()
        started = subprocess.run(
            [sys.executable, "-m", "cluster.head", "--config", config, "--alive-fd", "2"],
            env=user.environ(),
            cwd=user.home,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert started.returncode == 1
        assert "SAGE-2401" in started.stderr
        assert "there are no keys" in started.stderr
        user.wait_gone()
