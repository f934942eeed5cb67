"""Engines of a cluster on its nodes: placed there, and started anew elsewhere when they are lost or moved."""

import json
import os
import signal
import socket as sockets
import tempfile
import threading
from collections.abc import Iterator, Sequence

import psutil
import pytest

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.errors import EngineLost, NoRoom
from sage.base.ids import NodeId, RequestId
from sage.base.inference import Failed, GenerateRequest, Last, Reply, Sampling, Token
from sage.base.settings import EngineSettings, Settings
from sage.flow.runner import EngineStatus
from tests.cluster.cluster_command import user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEADLINE_S = 60.0
REPLICATED = EngineSettings(name="sim", kind="simulated", model="sim", target="cpu2", replicas=2, cpus=0.1)


@pytest.fixture
def no_file_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder for one test alone, and for the processes that it starts: empty again at the end."""
    with tempfile.TemporaryDirectory(prefix="sage-", dir="/tmp") as folder:  # short, for the sockets in it
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert os.listdir(folder) == []


@pytest.fixture
def cluster(no_file_stays: None) -> Iterator[RemoteCluster]:
    """Two nodes with a replica each; nothing of them is left at the end."""
    with nodes_here(2, settings=Settings(engines=(REPLICATED,))) as cluster:
        processes: list[psutil.Process] = []
        warm_up(cluster)
        yield cluster
        processes = psutil.Process(cluster.head_pid).children(recursive=True)
    _, left = psutil.wait_procs(processes, timeout=DEADLINE_S)
    assert left == []


def asking(num: int = 8, max_tokens: int = 2) -> sage.Flow:
    flow = sage.Flow("asking")
    texts = flow.from_collection([f"text {n}" for n in range(num)])
    texts.generate(model="sim", prompt=str, max_tokens=max_tokens).collect()
    return flow


def warm_up(cluster: RemoteCluster) -> None:
    cluster.submit(asking()).wait(DEADLINE_S)
    eventually(lambda: states(cluster) == {"sim-1": "ready", "sim-2": "ready"}, DEADLINE_S)


def engines(cluster: RemoteCluster) -> dict[str, EngineStatus]:
    return {engine.engine_id: engine for engine in cluster.engines()}


def states(cluster: RemoteCluster) -> dict[str, str]:
    return {name: engine.state for name, engine in engines(cluster).items()}


def host_on(cluster: RemoteCluster, node: str) -> psutil.Process:
    (state,) = [state for state in cluster.node_states() if state.view.node_id == node]
    (host,) = psutil.Process(state.pid).children()
    return host


class Asker:
    """Asks one long question and knows how it ended."""

    def __init__(self, cluster: RemoteCluster, name: str, max_tokens: int) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.last: Last | None = None
        request = GenerateRequest(RequestId(name), "sim", "Once", Sampling(max_tokens=max_tokens))
        cluster.inference.submit([request], self._take)

    def _take(self, replies: Sequence[Reply]) -> None:
        for reply in replies:
            if isinstance(reply, Token):
                self.began.set()
            else:
                self.last = reply
                self.ended.set()


def test_replicas_are_on_different_nodes_as_children_of_those(cluster: RemoteCluster) -> None:
    assert {engine.node for engine in engines(cluster).values()} == {"node-1", "node-2"}
    placed = {node.node_id: node.engines for node in cluster.nodes()}
    assert sorted(placed.values()) == [("engine sim-1",), ("engine sim-2",)]
    for node in placed:
        assert "engine-id" in " ".join(host_on(cluster, node).cmdline())
    assert all(node.free.cpus < node.total.cpus for node in cluster.nodes())


def test_a_host_that_is_killed_ends_its_requests_with_a_typed_error_and_is_started_again(
    cluster: RemoteCluster,
) -> None:
    askers = [Asker(cluster, f"long-{n}", 5_000) for n in range(2)]
    for asker in askers:
        assert asker.began.wait(DEADLINE_S)
    host_on(cluster, "node-1").kill()
    eventually(lambda: any(asker.ended.is_set() for asker in askers), DEADLINE_S)
    (lost,) = [asker for asker in askers if asker.ended.is_set()]
    assert isinstance(lost.last, Failed)
    assert lost.last.failure.code == EngineLost.code
    assert "was killed by SIGKILL" in lost.last.failure.what
    eventually(lambda: states(cluster) == {"sim-1": "ready", "sim-2": "ready"}, DEADLINE_S)


def test_an_engine_whose_node_is_killed_is_placed_anew_where_there_is_room(cluster: RemoteCluster) -> None:
    (before,) = [state for state in cluster.node_states() if state.view.node_id == "node-1"]
    host = host_on(cluster, "node-1")
    os.kill(before.pid, signal.SIGKILL)
    _, left = psutil.wait_procs([host], timeout=DEADLINE_S)
    assert left == [], "it ends with its node"
    cluster.submit(asking()).wait(DEADLINE_S)
    eventually(lambda: states(cluster) == {"sim-1": "ready", "sim-2": "ready"}, DEADLINE_S)


def test_a_hung_host_is_noticed_by_its_node_and_started_again(no_file_stays: None) -> None:
    engine = EngineSettings(name="sim", kind="simulated", model="sim", target="cpu2", max_iteration_s=2.0)
    with nodes_here(1, settings=Settings(engines=(engine,))) as cluster:
        cluster.submit(asking()).wait(DEADLINE_S)
        host = host_on(cluster, "node-1")
        asker = Asker(cluster, "long", 5_000)
        assert asker.began.wait(DEADLINE_S)
        host.suspend()
        assert asker.ended.wait(DEADLINE_S)
        assert isinstance(asker.last, Failed)
        assert "hung and was ended: it has not answered" in asker.last.failure.what
        cluster.submit(asking()).wait(DEADLINE_S)


def test_a_drained_node_ends_after_its_engine_has_answered_and_moved(cluster: RemoteCluster) -> None:
    askers = [Asker(cluster, f"short-{n}", 60) for n in range(2)]
    for asker in askers:
        assert asker.began.wait(DEADLINE_S)
    cluster.drain(NodeId("node-2"))
    for asker in askers:
        assert asker.ended.wait(DEADLINE_S)
        assert not isinstance(asker.last, Failed), asker.last
    eventually(lambda: [node.node_id for node in cluster.nodes()] == ["node-1"], DEADLINE_S)
    eventually(lambda: states(cluster) == {"sim-1": "ready", "sim-2": "ready"}, DEADLINE_S)
    assert {engine.node for engine in engines(cluster).values()} == {"node-1"}


def test_an_engine_that_no_node_has_room_for_is_refused_by_what_is_missing_where(no_file_stays: None) -> None:
    engine = EngineSettings(name="big", kind="simulated", model="sim", target="h100", gpus=1, labels=("zone=a",))
    with (
        nodes_here(1, settings=Settings(engines=(engine,))) as cluster,
        pytest.raises(
            NoRoom, match=r"engine big \(simulated:h100\) asks for 1 GPUs and the label zone=a: node-1 has 0 of"
        ),
    ):
        cluster.submit(asking()).wait(DEADLINE_S)


@pytest.mark.engines
def test_the_embedded_engines_answer_on_a_node(no_file_stays: None) -> None:
    flow = sage.Flow("real")
    texts = flow.from_collection(["cats purr", "dogs bark"])
    answers = texts.generate(model="smollm2", prompt=str, max_tokens=4).collect()
    vectors = texts.embed(model="minilm", text=str).collect()
    with nodes_here(2, settings=Settings()) as cluster:
        cluster.submit(flow).wait(DEADLINE_S)
        where = {engine.engine_id: engine.node for engine in cluster.engines()}
        assert set(where) == {"smollm2", "minilm"}
        assert set(where.values()) <= {"node-1", "node-2"}
        assert not any(engine.simulated for engine in cluster.engines())
    assert len(answers.items) == len(vectors.items) == 2
    assert len(vectors.items[0]) == 384


ASKING = """
import sage

asking = sage.Flow("asking")
texts = asking.from_collection([f"text {n}" for n in range(8)])
texts.generate(model="sim", prompt=str, max_tokens=2).collect()
"""
FAR_ENGINE = "simulated:cpu2,model=sim,name=sim,cpus=0.5,label=zone=far"


def test_an_engine_waits_for_the_machine_that_has_room_and_answers_over_an_encrypted_socket() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with user_at_home() as user, user_at_home() as other:
        (user.home / "flows.py").write_text(ASKING)
        (other.home / "sage.toml").write_text('[node]\nlabels = "zone=far"\n')
        user("start", "--address", address, "--engine", FAR_ENGINE)
        assert "asks for 0.5 CPUs and the label zone=far" in user("submit", "flows.py:asking", "--wait", status=1)
        other("join", address, "--token", user("token").strip(), "--node", "far")
        job = user("submit", "flows.py:asking", "--wait", "--json")
        assert json.loads(job)["status"] == "finished"
        (far,) = [node["view"] for node in user.json("nodes") if node["view"]["node_id"] == "far"]
        assert far["engines"] == ["engine sim"]
        assert far["total"]["cpus"] - far["free"]["cpus"] == 0.5
        (host,) = [process for process in other.processes() if "--engine-id" in process.cmdline()]
        assert [link.raddr.ip for link in host.net_connections("tcp")] == ["127.0.0.1"]
        user("stop")
        user.wait_gone()
        other.wait_gone()
