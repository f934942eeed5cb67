"""A head and its nodes as processes: what they run, how they are lost, refused and ended; nothing of them stays."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.head.config import HeadConfig
from cluster.runtime.control import CONTROL_WIRE
from cluster.runtime.states import NodeState
from sage.base.errors import ClusterUnreachable, CodeMismatch, JobCancelled, RecordFailed
from sage.base.ids import NodeId
from sage.base.settings import EngineSettings, Settings
from sage.flow.runner import JobStatus
from tests.cluster import cluster_flows as flows
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.cluster

DEADLINE_S = 40.0
ROOT = Path(__file__).parents[2]
SETTINGS = Settings(engines=(EngineSettings(name="sim", kind="simulated", model="sim", target="cpu2"),))


@pytest.fixture
def no_file_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder for one test alone, and for the processes that it starts: empty again at the end."""
    with tempfile.TemporaryDirectory(prefix="sage-", dir="/tmp") as folder:  # short, for the sockets in it
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert os.listdir(folder) == []


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[RemoteCluster]:
    """A cluster of two nodes, with its engine, that tests use and do not hurt."""
    with nodes_here(2, settings=SETTINGS) as cluster:
        cluster.submit(flows.asking).wait(DEADLINE_S)
        yield cluster


@pytest.fixture
def three_nodes(no_file_stays: None) -> Iterator[RemoteCluster]:
    """A cluster of three nodes that a test may hurt."""
    with nodes_here(3, settings=SETTINGS) as cluster:
        yield cluster


def state_of(cluster: RemoteCluster, node_id: str) -> NodeState | None:
    return next((state for state in cluster.node_states() if state.view.node_id == node_id), None)


def control_of(cluster: RemoteCluster) -> str:
    """Return the address of the head's socket, as the head was told it."""
    arguments = psutil.Process(cluster.head_pid).cmdline()
    folder = msgspec.json.decode(arguments[arguments.index("--config") + 1], type=HeadConfig).folder
    return f"ipc://{folder}/control"


def slow_sums() -> dict[int, int]:
    return {digit: sum(range(digit, flows.NUM_SLOW, 10)) for digit in range(10)}


def test_a_keyed_exchange_between_two_nodes_counts_every_word_once(two_nodes: RemoteCluster) -> None:
    job = two_nodes.submit(flows.words)
    assert job.wait(DEADLINE_S).status is JobStatus.FINISHED
    assert dict(flows.word_counts.items) == {
        word: 500 * count for word, count in Counter(" ".join(flows.TEXTS).split()).items()
    }
    used = {node for chain in job.metrics().chains for node in chain.nodes}
    assert used == {"node-1", "node-2"}


def test_what_is_collected_comes_whole_however_much_it_is(two_nodes: RemoteCluster) -> None:
    two_nodes.submit(flows.many).wait(DEADLINE_S)
    assert Counter(flows.many_items.items) == Counter(map(str, range(200_000)))


def test_steps_on_nodes_ask_models_of_the_head(two_nodes: RemoteCluster) -> None:
    job = two_nodes.submit(flows.asking)
    job.wait(DEADLINE_S)
    assert len(flows.answers.items) == len(flows.TEXTS)
    assert sum(chain.num_requests for chain in job.metrics().chains) == len(flows.TEXTS)
    (engine,) = two_nodes.engines()
    assert (engine.state, engine.simulated) == ("ready", True)


def test_a_failed_job_shows_the_users_frame(two_nodes: RemoteCluster) -> None:
    with pytest.raises(RecordFailed, match="division by zero") as caught:
        two_nodes.submit(flows.broken).wait(DEADLINE_S)
    assert "in invert" in caught.value.user_traceback


def test_what_a_job_prints_can_be_read_afterwards(two_nodes: RemoteCluster) -> None:
    job = two_nodes.submit(flows.printing)
    job.wait(DEADLINE_S)
    assert [line.text for line in two_nodes.logs(job.id)] == list(map(str.upper, flows.TEXTS))


def test_a_job_is_cancelled_on_every_node(two_nodes: RemoteCluster) -> None:
    job = two_nodes.submit(flows.long)
    eventually(lambda: job.metrics().records_in > 0, DEADLINE_S)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait(DEADLINE_S)
    eventually(lambda: all(node.num_tasks == 0 for node in two_nodes.nodes()), DEADLINE_S)


def test_code_that_makes_another_flow_on_the_nodes_is_refused_by_name(two_nodes: RemoteCluster) -> None:
    with pytest.raises(CodeMismatch, match="on node node-"):
        two_nodes.submit(flows.fickle).wait(DEADLINE_S)


def test_a_stranger_of_another_wire_version_is_told_so_and_others_are_served(two_nodes: RemoteCluster) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.connect(control_of(two_nodes))
    try:
        stranger.send_multipart([msgspec.msgpack.encode([CONTROL_WIRE + 1, 0, 1]), b"\xc0"])
        assert stranger.poll(round(DEADLINE_S * 1000))
        header, body = stranger.recv_multipart()
        assert msgspec.msgpack.decode(header)[0] == CONTROL_WIRE
        assert "SAGE-2501" in str(msgspec.msgpack.decode(body))
    finally:
        stranger.close(linger=0)
        context.term()
    assert len(two_nodes.nodes()) == 2


def test_a_job_begins_anew_when_a_node_is_killed_and_brings_every_record_once(three_nodes: RemoteCluster) -> None:
    job = three_nodes.submit(flows.slow)
    eventually(lambda: job.metrics().records_in > 20, DEADLINE_S)
    before = state_of(three_nodes, "node-2")
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    job.wait(DEADLINE_S)
    assert dict(flows.slow_sums.items) == slow_sums()
    assert three_nodes.describe(job.id).state.num_restarts == 1

    def is_back() -> bool:
        after = state_of(three_nodes, "node-2")
        return after is not None and after.pid != before.pid and after.epoch > before.epoch

    eventually(is_back, DEADLINE_S)


def test_a_node_that_stands_still_is_killed_before_its_work_is_given_away(three_nodes: RemoteCluster) -> None:
    """One that went on later could write what it had checked before; it is started anew instead."""
    job = three_nodes.submit(flows.slow)
    eventually(lambda: job.metrics().records_in > 20, DEADLINE_S)
    before = state_of(three_nodes, "node-2")
    assert before is not None
    process = psutil.Process(before.pid)
    process.suspend()
    eventually(lambda: three_nodes.describe(job.id).state.num_restarts == 1, DEADLINE_S)
    assert not process.is_running()
    job.wait(DEADLINE_S)
    assert dict(flows.slow_sums.items) == slow_sums()

    def is_back() -> bool:
        after = state_of(three_nodes, "node-2")
        return after is not None and after.pid != before.pid and after.epoch > before.epoch

    eventually(is_back, DEADLINE_S)


def test_a_drained_node_ends_once_nothing_runs_there(three_nodes: RemoteCluster) -> None:
    three_nodes.drain(NodeId("node-3"))
    eventually(lambda: state_of(three_nodes, "node-3") is None, DEADLINE_S)
    three_nodes.submit(flows.words).wait(DEADLINE_S)


def test_of_nodes_that_end_only_those_not_drained_are_started_again(three_nodes: RemoteCluster) -> None:
    drained, killed = (state_of(three_nodes, name) for name in ("node-3", "node-2"))
    assert drained is not None
    assert killed is not None
    three_nodes.drain(NodeId("node-3"))
    psutil.wait_procs([psutil.Process(drained.pid)], timeout=DEADLINE_S)
    psutil.Process(killed.pid).kill()  # whoever starts nodes learns of this one later

    def is_back() -> bool:
        after = state_of(three_nodes, "node-2")
        return after is not None and after.pid != killed.pid

    eventually(is_back, DEADLINE_S)
    members = {state.pid for state in three_nodes.node_states()}
    assert {child.pid for child in psutil.Process(three_nodes.head_pid).children()} == members
    assert state_of(three_nodes, "node-3") is None


@pytest.mark.usefixtures("no_file_stays")
def test_when_the_head_is_killed_its_nodes_end_and_leave_no_file() -> None:
    cluster = nodes_here(2, settings=SETTINGS)
    job = cluster.submit(flows.long)
    processes = [psutil.Process(state.pid) for state in cluster.node_states()]
    os.kill(cluster.head_pid, signal.SIGKILL)
    gone, _ = psutil.wait_procs(processes, timeout=DEADLINE_S)
    assert len(gone) == 2
    with pytest.raises(ClusterUnreachable):
        job.wait(DEADLINE_S)
    cluster.close()


@pytest.mark.usefixtures("no_file_stays")
def test_everything_ends_with_the_process_that_wanted_it() -> None:
    program = (
        "import sys\n"
        "from cluster.client.nodes_here import nodes_here\n"
        "cluster = nodes_here(2)\n"
        "print(cluster.head_pid, *(state.pid for state in cluster.node_states()), flush=True)\n"
        "sys.stdin.read()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, env=environ) as parent:
        assert parent.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    gone, _ = psutil.wait_procs(processes, timeout=DEADLINE_S)
    assert len(gone) == 3
