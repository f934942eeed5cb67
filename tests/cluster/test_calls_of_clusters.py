"""A cluster of `sage-cluster start` that loses a node or its head while models are asked; see test_calls_of_lost_nodes.

An answer that was written down, or is in a cache, is asked of no engine again.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sage
from tests.cluster.cluster_command import user_at_home
from tests.cluster.node_farm import StartedCluster
from tests.cluster.test_calls_of_lost_nodes import (
    NUM_FIRST,
    NUM_RECORDS,
    asking,
    kill_node_without_engine,
    let_go,
    num_asked,
)
from tests.cluster.waiting import eventually
from tests.nemesis.house import client_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

DEADLINE_S = 60.0
SETTINGS = """
[[engine]]
name = "sim"
kind = "simulated"
target = "h100"
model = "sim"
cpus = 0.1
"""


@pytest.fixture
def started() -> Iterator[StartedCluster]:
    with user_at_home() as user:
        (user.home / "sage.toml").write_text(SETTINGS, encoding="utf-8")
        user("start", "--nodes", "2")
        with client_of(user, reconnect_s=DEADLINE_S) as cluster:
            yield StartedCluster(user, cluster)
        user("stop")
        user.wait_gone()


@pytest.mark.parametrize("lost", ["node", "head"])
def test_no_call_that_was_answered_is_made_again(started: StartedCluster, tmp_path: Path, lost: str) -> None:
    cluster = started.cluster
    os.mkfifo(tmp_path / "go")
    flow, out = asking(tmp_path / "go", max_in_flight=8)
    job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=600.0))
    eventually(lambda: num_asked(cluster) == NUM_FIRST, DEADLINE_S, job.metrics)
    eventually(lambda: job.metrics().records_out == NUM_FIRST, DEADLINE_S, job.metrics)
    if lost == "node":
        kill_node_without_engine(cluster)
        num_before = 0
    else:
        started.kill_head()
        num_before = NUM_FIRST  # its engine went along, and its count
    end = let_go(tmp_path / "go")
    result = job.wait(DEADLINE_S)
    end()
    assert sorted(int(each["text"].removeprefix("text ")) for each in out.items) == list(range(NUM_RECORDS))
    assert (result.num_replayed, result.num_repeated) == (NUM_FIRST, 0)
    assert num_before + num_asked(cluster) == NUM_RECORDS


def test_what_a_cache_holds_is_asked_once_in_all_jobs(started: StartedCluster, tmp_path: Path) -> None:
    cluster, num_cached = started.cluster, []
    for name in ("first", "second"):
        flow = sage.Flow(name)
        prompts = flow.from_collection([{"text": f"text {number}"} for number in range(NUM_RECORDS)])
        asked = prompts.generate(
            model="sim", prompt="{text}", max_tokens=2, into="said", cache=sage.CallCache(tmp_path / "answers")
        )
        out = asked.with_parallelism(2).collect()
        num_cached.append(cluster.submit(flow).wait(DEADLINE_S).num_cached)
        assert len(out.items) == NUM_RECORDS
        assert num_asked(cluster) == NUM_RECORDS
    assert num_cached == [0, NUM_RECORDS]
