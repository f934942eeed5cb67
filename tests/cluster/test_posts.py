"""What is posted to flows in processes of their own: counted once wherever they are killed, and told where to post."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import httpx
import pytest

import sage
from cluster.client.nodes_here import nodes_here
from sage.base.settings import Settings
from sage.flow.runner import Job, JobStatus
from tests.cluster.cluster_command import ROOT, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually
from tests.unit.web.posting import post

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

DEADLINE_S = 60.0
NUM_POSTS = 300
NUM_KILLS = 3

FLOW = """
import sage

flow = sage.Flow("orders")
orders = flow.from_http("orders", max_posts=2).write_jsonl("orders.jsonl")
"""


class PostedFlow:
    """`tests.cluster.posted`, as often as it is started; says where it listens."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.posted", str(folder), str(NUM_POSTS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert said.startswith("posted: from_http listens at http://127.0.0.1:"), said + self.process.stderr.read()
        self.url = said.split()[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)


def posted_until_taken(client: httpx.Client, url: str, number: int) -> bool:
    """Post a number under a key of its own; return whether it was acknowledged, or is to be posted again."""
    try:
        answer = client.post(url, json=number, headers={"idempotency-key": f"number-{number}"})
    except httpx.TransportError:
        return False
    assert answer.status_code in (202, 503), answer.text
    return answer.status_code == 202


def test_what_is_posted_under_keys_is_counted_once_wherever_the_process_is_killed(tmp_path: Path) -> None:
    rng, left = Random(11), deque(range(NUM_POSTS))
    kills_at = sorted(rng.sample(range(20, NUM_POSTS - 20), NUM_KILLS), reverse=True)
    flow = PostedFlow(tmp_path)
    with httpx.Client(verify=False, timeout=DEADLINE_S) as client:
        while left:
            if kills_at and len(left) <= NUM_POSTS - kills_at[-1]:
                kills_at.pop()
                again = [number for number in range(NUM_POSTS - len(left)) if number % 7 == 0]
                flow.kill()
                flow = PostedFlow(tmp_path)
                assert all(posted_until_taken(client, flow.url, number) for number in again)  # each is known by its key
            if posted_until_taken(client, flow.url, left[0]):
                left.popleft()
    said, errors = flow.process.communicate(timeout=DEADLINE_S)
    evens, odds = sum(range(0, NUM_POSTS, 2)), sum(range(1, NUM_POSTS, 2))
    assert said.startswith(
        f"{NUM_POSTS} [(0, {evens}), (1, {odds})] from_http: 202 says that the post is on the disk"
    ), errors
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert sorted(map(int, lines)) == list(range(NUM_POSTS))


def url_of(job: Job) -> str:
    eventually(lambda: bool(job.metrics().urls), DEADLINE_S)
    return job.metrics().urls["from_http"]


def test_a_node_that_listens_is_killed_and_another_counts_what_was_acknowledged(tmp_path: Path) -> None:
    flow = sage.Flow("moves")
    posted = flow.from_http("numbers", max_posts=40, max_waiting=100)
    pids = posted.map(lambda number: (number, os.getpid())).named("where").collect()
    total = posted.key_by(lambda number: 0).sum(final=True).with_parallelism(2).collect()
    with closing(nodes_here(2, settings=Settings())) as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path, every_s=0.05))
        first = url_of(job)
        assert {post(first, number).status_code for number in range(20)} == {202}
        eventually(lambda: len(pids.items) > 0, DEADLINE_S)
        os.kill(pids.items[0][1], signal.SIGKILL)
        eventually(lambda: job.metrics().urls.get("from_http", first) != first, DEADLINE_S)
        assert {post(url_of(job), number).status_code for number in range(20, 40)} == {202}
        result = job.wait(DEADLINE_S)
    assert (result.status, total.items) == (JobStatus.FINISHED, [(0, sum(range(40)))])
    assert sorted(number for number, _ in pids.items) == list(range(40))


@pytest.fixture
def user() -> Iterator[ClusterCommand]:
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOW)
        yield command
        if command.run("status").returncode == 0:
            command("stop")
        command.wait_gone()


def test_a_cluster_says_where_to_post_to_a_job(user: ClusterCommand) -> None:
    user("start", "--nodes", "1")
    job_id = user("submit", "flows.py").strip()
    eventually(lambda: "listens at" in user("job", job_id), DEADLINE_S)
    (line,) = [line for line in user("job", job_id).splitlines() if "listens at" in line]
    url = line.split()[-1]
    assert line.startswith("from_http on ")
    assert user.json("job", job_id)["state"]["metrics"]["chains"][0]["urls"] == [url]
    assert [post(url, {"id": number}).status_code for number in (1, 2)] == [202, 202]
    eventually(lambda: (user.home / "orders.jsonl").exists(), DEADLINE_S)
    lines = (user.home / "orders.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": 1}, {"id": 2}]
    assert "listens at" not in user("job", job_id)
