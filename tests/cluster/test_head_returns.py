"""A head that is killed and started again: jobs, nodes and whoever waits go on, and nothing is lost in silence."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.cluster_command import GONE_S, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

FLOWS = """
import os, time
import sage

def slowly(number):
    time.sleep(0.002)
    return number

def wait_for_go(number):
    while not os.path.exists("go"):
        time.sleep(0.01)
    return number

def fail(number):
    raise ValueError(f"no room for {number}")

quick = sage.Flow("quick")
quick.from_collection([1, 2, 3]).for_each(lambda number: None)
failing = sage.Flow("failing")
failing.from_collection([7]).map(fail).for_each(lambda number: None)
held = sage.Flow("held")
held.from_collection(range(100)).map(wait_for_go).write_jsonl("held.jsonl")
"""


@pytest.fixture
def user() -> Iterator[ClusterCommand]:
    """A user with flows and no cluster; nothing of a cluster is left at the end."""
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOWS)
        yield command
        if command.run("status").returncode == 0:
            command("stop")
        command.wait_gone()


def kill_head(user: ClusterCommand) -> None:
    """Kill the head; its nodes have ended when this returns."""
    os.kill(user.json("status")["head_pid"], signal.SIGKILL)
    user.wait_gone()


def statuses(user: ClusterCommand) -> dict[str, str]:
    return {job["name"]: job["metrics"]["status"] for job in user.json("jobs")}


def test_jobs_that_were_over_are_listed_and_the_others_begin_again(user: ClusterCommand) -> None:
    user("start", "--nodes", "2")
    user("submit", "flows.py:quick", "--wait")
    user("submit", "flows.py:failing", "--wait", status=1)
    held = user("submit", "flows.py:held").strip()
    eventually(lambda: statuses(user)["held"] == "running", GONE_S)
    kill_head(user)
    assert "SAGE-2502" in user("jobs", status=1)
    user("start", "--nodes", "2")
    assert [job["name"] for job in user.json("jobs")] == ["quick", "failing", "held"]
    quick, failing, _ = user.json("jobs")
    assert (quick["metrics"]["status"], quick["metrics"]["records_in"]) == ("finished", 3)
    assert failing["metrics"]["status"] == "failed"
    assert "in fail" in user("job", failing["job_id"])
    eventually(lambda: statuses(user)["held"] == "running", GONE_S)
    (user.home / "go").touch()
    eventually(lambda: statuses(user)["held"] == "finished", GONE_S)
    assert user.json("job", held)["state"]["num_restarts"] == 1
    assert (user.home / "held.jsonl").read_text().split() == [str(number) for number in range(100)]
