"""Checkpoints by commands: a head that is killed goes on from the newest, a savepoint begins another job."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster_command import GONE_S, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

NUM_RECORDS = 30_000

FLOWS = f"""
import asyncio
import sage

async def held(number):
    if number == {NUM_RECORDS - 1}:
        pipe = await asyncio.to_thread(open, "go")  # it opens once somebody writes to it
        pipe.close()
    return number

def counted(num_instances):
    flow = sage.Flow("counted")
    numbers = flow.from_collection(range({NUM_RECORDS})).map_async(held, max_in_flight=8).named("held")
    counts = numbers.key_by(lambda n: n % 10).count(final=True).named("count").with_parallelism(num_instances)
    counts.write_jsonl("out.jsonl")
    return flow

two = counted(2)
five = counted(5)
"""


@pytest.fixture
def user() -> Iterator[ClusterCommand]:
    """A user with flows and no cluster; nothing of a cluster is left at the end."""
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOWS)
        os.mkfifo(command.home / "go")
        yield command
        if command.run("status").returncode == 0:
            command("stop")
        command.wait_gone()


@pytest.fixture
def go(user: ClusterCommand) -> Iterator[Callable[[], None]]:
    """From when this is called, what waits for it goes on, and nobody waits any more."""
    writing: list[int] = []
    yield lambda: writing.append(os.open(user.home / "go", os.O_RDWR))
    for end in writing:
        os.close(end)


def status_of(user: ClusterCommand, job_id: str) -> str:
    status: str = user.json("job", job_id)["state"]["metrics"]["status"]
    return status


def counts_in(file: Path) -> list[str]:
    return sorted(file.read_text().split("\n")[:-1])


def test_a_killed_head_goes_on_from_the_newest_checkpoint_and_a_savepoint_with_other_parallelism(
    user: ClusterCommand, go: Callable[[], None]
) -> None:
    user("start", "--nodes", "2")
    job_id = user("submit", "flows.py:two", "--checkpoint", "kept", "--every-s", "0.1").strip()
    eventually(lambda: len(list((user.home / "kept").glob("*/*.manifest"))) > 0, GONE_S)
    assert user.json("state", job_id)["steps"] == ["count"]
    eventually(lambda: user.json("state", job_id, "count", "3")["state"] > 0, GONE_S)
    assert user("state", job_id, "count", "77") == "null\n"
    assert "SAGE-1311" in user("state", job_id, "held", "3", status=1)
    user("savepoint", job_id, "saved")
    os.kill(user.json("status")["head_pid"], signal.SIGKILL)
    eventually(lambda: not user.processes(), GONE_S)
    user("start", "--nodes", "2")
    go()
    eventually(lambda: status_of(user, job_id) == "finished", GONE_S)
    wanted = [f"[{key},{NUM_RECORDS // 10}]" for key in range(10)]
    assert counts_in(user.home / "out.jsonl") == wanted
    state = user.json("job", job_id)["state"]
    assert (state["num_restarts"], state["metrics"]["records_in"]) == (1, NUM_RECORDS)
    user("submit", "flows.py:five", "--checkpoint", "others", "--savepoint", "saved", "--wait")
    assert counts_in(user.home / "out.jsonl") == wanted


def test_options_of_checkpoints_are_refused_without_a_folder(user: ClusterCommand) -> None:
    assert "--checkpoint" in user("submit", "flows.py:two", "--resume", "must", status=2)
