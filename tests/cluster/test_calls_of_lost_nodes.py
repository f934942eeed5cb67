"""A node that is killed while models are asked: what was answered before is not asked again, wherever it goes on."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.settings import EngineSettings, Settings
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEADLINE_S = 60.0
NUM_RECORDS, NUM_FIRST = 200, 100


@pytest.fixture
def cluster() -> Iterator[RemoteCluster]:
    engine = EngineSettings(name="sim", kind="simulated", model="sim", target="h100", cpus=0.1)
    with nodes_here(2, settings=Settings(engines=(engine,))) as cluster:
        yield cluster


def asking(go: Path, max_in_flight: int) -> tuple[sage.Flow, Any]:
    """A flow in which the first records are asked about; the others wait until somebody writes to `go`."""

    async def held(number: int) -> int:
        if number >= NUM_FIRST:
            pipe = await asyncio.to_thread(open, go)
            pipe.close()
        return number

    flow = sage.Flow("asking")
    numbers = flow.from_collection(range(NUM_RECORDS)).map_async(held, max_in_flight=NUM_RECORDS)
    prompts = numbers.map(lambda number: {"text": f"text {number}"})
    asked = prompts.generate(
        model="sim", prompt="{text}", max_tokens=2, temperature=0.7, into="said", max_in_flight=max_in_flight
    )
    return flow, asked.named("ask").with_parallelism(2).collect()


def num_asked(cluster: RemoteCluster) -> int:
    """Return how many requests the engine was ever given."""
    return sum(engine.num_requests for engine in cluster.engines())


def kill_node_without_engine(cluster: RemoteCluster) -> None:
    home = next(engine.node for engine in cluster.engines())
    (victim,) = [state.pid for state in cluster.node_states() if state.view.node_id != home]
    os.kill(victim, signal.SIGKILL)


def let_go(go: Path) -> Callable[[], None]:
    """Let what waits go on; what is returned ends it."""
    end = os.open(go, os.O_RDWR)
    return lambda: os.close(end)


def test_no_call_that_was_answered_is_made_again_after_a_node_was_killed(
    cluster: RemoteCluster, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    flow, out = asking(tmp_path / "go", max_in_flight=8)
    job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=600.0))
    eventually(lambda: num_asked(cluster) == NUM_FIRST, DEADLINE_S, job.metrics)
    eventually(lambda: job.metrics().records_out == NUM_FIRST, DEADLINE_S, job.metrics)
    kill_node_without_engine(cluster)
    end = let_go(tmp_path / "go")
    result = job.wait(DEADLINE_S)
    end()
    assert sorted(int(each["text"].removeprefix("text ")) for each in out.items) == list(range(NUM_RECORDS))
    assert (result.num_replayed, result.num_repeated) == (NUM_FIRST, 0)
    assert num_asked(cluster) == NUM_RECORDS


def test_calls_that_were_out_when_a_node_was_killed_are_counted(cluster: RemoteCluster, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    end = let_go(tmp_path / "go")
    flow, out = asking(tmp_path / "go", max_in_flight=4)
    job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=600.0))
    eventually(lambda: num_asked(cluster) > 20, DEADLINE_S, job.metrics)
    kill_node_without_engine(cluster)
    result = job.wait(DEADLINE_S)
    end()
    assert len(out.items) == NUM_RECORDS
    num_again = num_asked(cluster) - NUM_RECORDS
    assert 0 <= num_again <= result.num_repeated <= 2 * 4
    assert result.num_replayed > 0
