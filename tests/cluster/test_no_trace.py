"""However a cluster ends, and however its starts and stops meet: no process, port, file or shared memory is left."""

import os
import signal
import socket as sockets
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.cluster.cluster_command import DEADLINE_S, GONE_S, ClusterCommand, shared_memory, user_at_home
from tests.cluster.port_scan import Port, listening_ports
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

RUN_CLUSTER = "import sys; from cluster.commands.cluster import main; sys.exit(main())"
FLOWS = """
import itertools
import sage

endless = sage.Flow("endless")
endless.from_collection(itertools.count()).map(str).with_parallelism(2).key_by(len).count().for_each(len)
"""


@pytest.fixture
def user() -> Iterator[ClusterCommand]:
    """A user whose clusters all have ended, and left nothing, when the test is over."""
    memory = shared_memory()
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOWS)
        yield command
        command.wait_gone()
        assert shared_memory() <= memory


def at_work(user: ClusterCommand) -> tuple[int, tuple[Port, ...]]:
    """Start a cluster with nodes, an engine, ports and a job that never ends; return its head and its ports."""
    with sockets.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    user("start", "--nodes", "2", "--address", address, "--engine", "simulated:h100,model=sim")
    user("submit", "flows.py:endless")
    eventually(lambda: user.json("jobs")[0]["metrics"]["records_in"] > 0, GONE_S)
    pid = int(user.json("status")["head_pid"])
    return pid, listening_ports(pid)


def is_closed(port: Port) -> bool:
    with sockets.socket() as probe:
        return probe.connect_ex(port.reachable()) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_head_at_work_that_gets_a_signal_ends_with_all_that_is_its_own(
    user: ClusterCommand, number: signal.Signals
) -> None:
    pid, ports = at_work(user)
    assert len(ports) == 3
    assert len(user.processes()) == 4
    os.kill(pid, number)
    user.wait_gone()
    eventually(lambda: all(is_closed(port) for port in ports), GONE_S)  # the kernel may be closing them still


def test_a_head_that_is_killed_with_one_of_its_nodes_leaves_nothing_of_that_node_either(user: ClusterCommand) -> None:
    user("start", "--nodes", "2")  # without an address, nodes have sockets in folders
    pid, node = int(user.json("status")["head_pid"]), int(user.json("nodes")[0]["pid"])
    os.kill(pid, signal.SIGSTOP)  # so that it does not come to clear up after the node
    os.kill(node, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    user.wait_gone()


def test_a_cluster_outlives_the_terminal_that_started_it_and_can_be_stopped_from_another(user: ClusterCommand) -> None:
    with begun(user, "start", "--nodes", "1") as starting:
        _, said = starting.communicate(timeout=DEADLINE_S)
    assert starting.returncode == 0, said
    with pytest.raises(ProcessLookupError):
        os.killpg(starting.pid, signal.SIGKILL)  # nothing of the cluster is in the terminal's session
    assert user.json("status")["nodes"] == 1
    user("stop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_start_that_is_interrupted_or_killed_leaves_nothing(user: ClusterCommand, number: signal.Signals) -> None:
    with begun(user, "start", "--nodes", "2") as starting:
        eventually(lambda: has_a_head_of_its_own(user, starting.pid), GONE_S)
        os.killpg(starting.pid, number)
        starting.communicate(timeout=DEADLINE_S)
    assert starting.returncode != 0


def has_a_head_of_its_own(user: ClusterCommand, starting: int) -> bool:
    """Say whether there is a process that the terminal's signals do not reach: an instant after its fork they do."""
    return any(process.pid != starting and _session(process) == process.pid for process in user.processes())


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def test_of_two_starts_at_once_one_starts_and_the_other_says_so(user: ClusterCommand) -> None:
    with begun(user, "start", "--nodes", "1") as one, begun(user, "start", "--nodes", "1") as other:
        said = [starting.communicate(timeout=DEADLINE_S)[1] for starting in (one, other)]
    assert sorted((one.returncode, other.returncode)) == [0, 1], said
    assert "SAGE-2503" in "".join(said)
    assert user.json("status")["nodes"] == 1
    user("stop")


def test_a_start_during_a_stop_waits_for_it_or_says_that_the_cluster_runs(user: ClusterCommand) -> None:
    user("start", "--nodes", "2")
    with begun(user, "stop") as stopping:
        with begun(user, "start", "--nodes", "1") as starting:
            _, said = starting.communicate(timeout=DEADLINE_S)
        stopping.communicate(timeout=DEADLINE_S)
    assert stopping.returncode == 0
    assert starting.returncode == 0 or "SAGE-2503" in said, said
    if starting.returncode == 0:
        assert user.json("status")["nodes"] == 1
        user("stop")


def test_of_two_stops_at_once_both_see_it_ended(user: ClusterCommand) -> None:
    before = psutil.Process().children()
    user("start", "--nodes", "1")
    with begun(user, "stop") as one, begun(user, "stop") as other:
        said = [stopping.communicate(timeout=DEADLINE_S)[1] for stopping in (one, other)]
    assert 0 in (one.returncode, other.returncode), said
    assert all(
        stopping.returncode == 0 or "SAGE-2502" in words for stopping, words in zip((one, other), said, strict=True)
    )
    assert psutil.Process().children() == before


def begun(user: ClusterCommand, *arguments: str) -> "subprocess.Popen[str]":
    return user.popen("-c", RUN_CLUSTER, *arguments)
