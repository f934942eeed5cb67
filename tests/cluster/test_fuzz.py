"""Seeded fuzz of everything that takes frames from others: it drops who sends them, counts, and serves everybody else.

`SAGE_FUZZ_S=3600 SAGE_FUZZ_SEED=7` is the long form; each target has its part of the time.
"""

import os
import resource
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import psutil
import pytest

from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.runtime.control import Heartbeat, Join, NodeToHead, PeerAddress, RunCollected, RunLogged, RunStopped
from cluster.runtime.control_clients import (
    ClientToHead,
    GetJob,
    Greet,
    Greeting,
    ListNodes,
    StillThere,
    WatchJob,
)
from cluster.runtime.control_frames import FrameReader, FrameWriter
from cluster.runtime.control_printed import PrintedTo, RunPrinted
from cluster.runtime.enrolment import Enrol
from cluster.runtime.links import Delivery, End, Grant, Link
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import encode_batch
from cluster.runtime.states import NodeState
from cluster.runtime.wire import (
    Hello,
    Outbound,
    frames_of,
    hello,
    message_of,
    read_to_connector,
    read_to_listener,
)
from cluster.serving.engines.port import FromHost, Replies, Run, ToHost
from sage.base.batch import Batch
from sage.base.clock import SystemClock
from sage.base.codec import Codec
from sage.base.errors import SageError
from sage.base.ids import JobId, NodeId, RequestId, TaskId
from sage.base.inference import EmbedRequest, Token
from sage.base.offer import NodeOffer
from sage.base.settings import RuntimeSettings, Settings
from tests.cluster import cluster_flows as flows
from tests.cluster.frame_fuzz import FrameFuzz, Frames
from tests.cluster.keyed_peer import KeyedPeer
from tests.cluster.waiting import eventually

SEED = int(os.environ.get("SAGE_FUZZ_SEED", "20261122"))
FUZZ_S = float(os.environ.get("SAGE_FUZZ_S", "20"))
LINK = Link(0, TaskId("job/a/0"), TaskId("job/b/0"))
LOOK_EVERY = 300
WAIT_S = 10.0
MORE_MEMORY_BYTES = 200_000_000

OFFER = NodeOffer(cpus=1.0, memory_bytes=1)
CONTROL = (
    Greet(1, "fuzz"),
    StillThere(),
    ListNodes(2),
    GetJob(3, JobId("job-x")),
    WatchJob(4, JobId("job-x")),
    Enrol("fuzz", "x" * 40),
    Heartbeat(1),
    Join("stranger", "i", 1, "host", OFFER, PeerAddress("tcp://127.0.0.1:1"), 1),
    RunCollected(JobId("job-x"), TaskId("job-x/c/0"), "c", b"\x91\x01", 1),
    RunLogged(JobId("job-x"), TaskId("job-x/c/0"), "c", ("line",)),
    RunPrinted(JobId("job-x"), TaskId("job-x/c/0"), "c", PrintedTo.STDERR, ("line",)),
    RunStopped(JobId("job-x"), ("stuck",)),
)


def control_corpus() -> list[Frames]:
    return [FrameWriter().frames(message, 0) for message in CONTROL]


def data_corpus() -> list[Frames]:
    batch = encode_batch(Batch([{"a": 1, "b": [1.5, "x"]}, {"a": 2, "b": []}]), RecordTypes(), where="fuzz")
    outbound = (
        Outbound(Delivery(LINK, Batch([1])), 0, batch),
        Outbound(End(LINK), 0),
        Outbound(Grant(LINK, 1), 0),
    )
    good = [[bytes(frame) for frame in frames_of(each, 1)] for each in outbound]
    return [[hello(NodeId("stranger"), NodeId("node-1"))], *good]


def read_control(frames: Frames) -> None:
    from_node: Codec[NodeToHead] = Codec(NodeToHead)  # type: ignore[arg-type]  # a union is no class to mypy
    from_client: Codec[ClientToHead | Enrol] = Codec(ClientToHead | Enrol)  # type: ignore[arg-type]  # as above
    with suppress(SageError):
        FrameReader(from_node).read(frames)
    with suppress(SageError):
        FrameReader(from_client).read(frames)


def read_data(frames: Frames) -> None:
    with suppress(SageError):
        head = read_to_listener(frames[0])
        if not isinstance(head, Hello):
            message_of(head, frames[1:], RecordTypes())
    with suppress(SageError):
        read_to_connector(frames[0])


def read_engine(frames: Frames) -> None:
    from_host: Codec[FromHost] = Codec(FromHost)  # type: ignore[arg-type]  # as above
    to_host: Codec[ToHost] = Codec(ToHost)  # type: ignore[arg-type]  # as above
    with suppress(SageError):
        from_host.decode(frames[0])
    with suppress(SageError):
        to_host.decode(frames[0])


ENGINE = [
    [msgspec.msgpack.encode(Replies((Token(RequestId("a"), "x"),)))],
    [msgspec.msgpack.encode(Run((EmbedRequest(RequestId("a"), "m", ("x",)),)))],
]


@pytest.mark.parametrize(
    ("corpus", "read"),
    [(control_corpus(), read_control), (data_corpus(), read_data), (ENGINE, read_engine)],
    ids=["control", "data", "engine-host"],
)
@pytest.mark.timeout(FUZZ_S + 60)
def test_whatever_is_read_it_is_refused_in_one_way_and_takes_no_memory(
    corpus: Sequence[Frames], read: Callable[[Frames], None]
) -> None:
    """Anything but a SageError would fail here, as it would end the thread that reads."""
    fuzz, before = FrameFuzz(corpus, Random(SEED)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    num = 0
    for _ in until(FUZZ_S / 8):
        read(fuzz.message())
        num += 1
    assert num > 1_000 * min(1.0, FUZZ_S / 20)
    more_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert more_bytes < MORE_MEMORY_BYTES


@pytest.mark.cluster
@pytest.mark.timeout(2 * FUZZ_S + 90)
def test_a_cluster_at_work_drops_and_counts_who_sends_nonsense_and_its_job_does_not_notice() -> None:
    with nodes_here(2, settings=Settings(runtime=RuntimeSettings(batch_records=20))) as cluster:
        pids = pids_of(cluster)
        control, data = addresses_of(cluster)
        job = cluster.submit(flows.long)
        answered = drop_all(control, FrameFuzz(control_corpus(), Random(SEED)), cluster)
        assert num_refused_now(control) > answered / 2
        answered = drop_all(data, FrameFuzz(data_corpus(), Random(SEED)), cluster)
        eventually(lambda: state_of(cluster, "node-1").num_refused > answered / 2, WAIT_S)
        assert pids_of(cluster) == pids
        assert cluster.describe(job.id).state.num_restarts == 0
        assert not cluster.describe(job.id).state.is_over
        job.cancel()
        cluster.submit(flows.words).wait(60.0)
        assert dict(flows.word_counts.items)["be"] == 1_500


def drop_all(address: str, fuzz: FrameFuzz, cluster: RemoteCluster) -> int:
    """Send nonsense to a socket for a while, by one connection after the other; the cluster answers all the time.

    Returns how many were answered, as a rule by why they are dropped.
    """
    answers: Counter[bool] = Counter()
    for number in until(FUZZ_S / 4):
        with KeyedPeer(address) as peer:
            if number % 3 == 0:
                peer.send(fuzz.good())
            peer.send(fuzz.message())
            answers[peer.hear(0.05) is not None] += 1
        if number % LOOK_EVERY == 0:
            assert len(pids_of(cluster)) >= 2
    assert answers[True] > sum(answers.values()) / 2, "who is dropped is told why, wherever it can be"
    return answers[True]


def num_refused_now(control: str) -> int:
    """Return the head's count, as a new client is told it."""
    with KeyedPeer(control) as client:
        client.say(Greet(1, "counting"))
        answer = client.hear(WAIT_S)
    assert answer is not None
    return msgspec.msgpack.decode(answer.frames[1], type=Greeting).num_refused


def state_of(cluster: RemoteCluster, name: str) -> NodeState:
    return next(state for state in cluster.node_states() if state.view.node_id == name)


def pids_of(cluster: RemoteCluster) -> dict[str, int]:
    """Return the processes of the cluster's own nodes; strangers that joined by chance apart."""
    states = cluster.node_states()
    return {str(state.view.node_id): state.pid for state in states if state.view.node_id.startswith("node-")}


def addresses_of(cluster: RemoteCluster) -> tuple[str, str]:
    """Return where the head and where the first node listen."""
    head = psutil.Process(cluster.head_pid)
    control = next(path for path in socket_files(head) if path.endswith("/control"))
    node = psutil.Process(pids_of(cluster)["node-1"])
    return f"ipc://{control}", f"ipc://{next(path for path in socket_files(node) if path.endswith('/data'))}"


def socket_files(process: psutil.Process) -> Iterator[str]:
    yield from (
        str(found.laddr) for found in process.net_connections(kind="unix") if Path(str(found.laddr)).is_socket()
    )


def until(after_s: float) -> Iterator[int]:
    """Count, until the time is over."""
    clock = SystemClock()
    over_s, number = clock.monotonic_s() + after_s, 0
    while clock.monotonic_s() < over_s:
        yield number
        number += 1
