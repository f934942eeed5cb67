"""`flow.run("local:2")`: the same flow on two node processes, with the same items, errors and prints as in this one."""

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from traceback import format_exception

import psutil
import pytest

import sage
from cluster.client.nodes_here import nodes_here, num_nodes_of
from sage.base.errors import JobCancelled, RecordFailed, RecordUnsendable, UnknownAddress
from sage.base.settings import EngineSettings, Settings
from sage.flow.runner import JobStatus
from tests.cluster.cluster_command import GONE_S, user_at_home

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

DEADLINE_S = 60.0
SIMULATED = EngineSettings(name="sim", kind="simulated", target="h100", model="sim")


@dataclasses.dataclass(frozen=True)
class Word:
    text: str
    place: int


def in_place(word: Word, answer: str) -> Word:
    return Word(answer, word.place)


@pytest.fixture(autouse=True)
def plain_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sage.toml of this folder, no settings of the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SAGE_")]:
        monkeypatch.delenv(name)


def test_words_are_counted_as_in_this_process() -> None:
    flow = sage.Flow("words")
    words = flow.from_collection(["to be or not to be"] * 2_000).flat_map(str.split).with_parallelism(2)
    keyed = words.key_by(lambda word: word).with_parallelism(2)
    counts = keyed.count(final=True).with_parallelism(2).collect()
    total = words.map(len).collect()
    result = flow.run("local:2", timeout_s=DEADLINE_S)
    assert sorted(counts.items) == [("be", 4_000), ("not", 2_000), ("or", 2_000), ("to", 4_000)]
    assert sum(total.items) == 13 * 2_000
    assert (result.status, result.records_in) == (JobStatus.FINISHED, 2_000)


def test_records_of_the_users_own_classes_come_back_as_what_they_were() -> None:
    flow = sage.Flow("classes")
    out = flow.from_collection(range(3)).map(lambda n: Word("x" * n, n)).collect()
    flow.run("local:1", timeout_s=DEADLINE_S)
    assert out.items == [Word("", 0), Word("x", 1), Word("xx", 2)]


def test_a_second_run_begins_with_no_items() -> None:
    flow = sage.Flow("twice")
    out = flow.from_collection([1, 2]).collect()
    with nodes_here(1, settings=Settings()) as cluster:
        for _ in range(2):
            cluster.submit(flow).wait(DEADLINE_S)
            assert out.items == [1, 2]


def test_an_error_of_the_users_function_shows_the_users_line_first() -> None:
    def fail_at_700(number: int) -> int:
        if number == 700:
            raise ValueError("no room")
        return number

    flow = sage.Flow("failing")
    flow.from_collection(range(1_000)).map(fail_at_700).with_parallelism(2).collect()
    with pytest.raises(RecordFailed, match="ValueError: no room") as caught:
        flow.run("local:2", timeout_s=DEADLINE_S)
    shown = "".join(format_exception(caught.value))
    assert shown.index("in fail_at_700") < shown.index("[SAGE-1301]")
    assert __file__ in shown


def test_a_record_that_cannot_travel_is_named_with_its_step() -> None:
    flow = sage.Flow("locks")
    flow.from_collection([1]).map(lambda _: threading.Lock()).named("make locks").collect()
    with pytest.raises(RecordUnsendable, match="lock"):
        flow.run("local:1", timeout_s=DEADLINE_S)


def test_what_a_flow_prints_is_printed_here(capsys: pytest.CaptureFixture[str]) -> None:
    flow = sage.Flow("printing")
    flow.from_collection(range(5)).print()
    flow.run("local:1", timeout_s=DEADLINE_S)
    assert capsys.readouterr().out.split() == ["0", "1", "2", "3", "4"]


def test_model_steps_ask_the_engines_of_the_head() -> None:
    flow = sage.Flow("models")
    texts = flow.from_collection([{"text": f"text {n}"} for n in range(50)])
    answers = texts.generate(model="sim", prompt="{text}", max_tokens=3, into="answer").with_parallelism(2).collect()
    vectors = texts.embed(model="sim", text="text", into="vector").collect()
    due = flow.from_collection([Word(f"word {n}", n) for n in range(20)], due_in_s=30.0)
    words = due.generate(model="sim", prompt="{text}", max_tokens=3, into=in_place).with_parallelism(2)
    again = words.generate(model="sim", prompt="{text}", max_tokens=3, into=in_place).collect()
    with nodes_here(2, settings=Settings(engines=(SIMULATED,))) as cluster:
        job = cluster.submit(flow)
        job.wait(DEADLINE_S)
        assert [engine.state for engine in cluster.engines()] == ["ready"]
        assert sum(chain.completion_tokens for chain in job.metrics().chains) > 0
    assert {record["text"] for record in answers.items} == {f"text {n}" for n in range(50)}
    assert all(record["answer"] for record in answers.items)
    assert sorted(word.place for word in again.items) == list(range(20))
    assert {len(record["vector"]) for record in vectors.items} == {len(vectors.items[0]["vector"])}


def test_cancel_stops_the_job_and_the_cluster_goes_on() -> None:
    def forever() -> Iterator[int]:
        while True:
            yield 1

    class Endless:
        def __iter__(self) -> Iterator[int]:
            return forever()

    flow = sage.Flow("endless")
    flow.from_collection(Endless()).for_each(abs)
    after = sage.Flow("after")
    out = after.from_collection([1]).collect()
    with nodes_here(2, settings=Settings()) as cluster:
        job = cluster.submit(flow)
        job.cancel()
        assert job.status is JobStatus.CANCELLED
        with pytest.raises(JobCancelled):
            job.wait(DEADLINE_S)
        cluster.submit(after).wait(DEADLINE_S)
        assert {found.id for found in cluster.jobs()} >= {job.id}
    assert out.items == [1]


def test_a_killed_node_begins_the_job_anew_and_every_item_comes_once() -> None:
    flow = sage.Flow("killed")
    out = flow.from_collection(range(200_000)).map(lambda n: n).with_parallelism(2).collect()
    begun = threading.Event()
    with nodes_here(2, settings=Settings()) as cluster:
        job = cluster.submit(flow)
        victim = cluster.node_states()[0].pid
        waiter = threading.Thread(target=job.wait, args=(DEADLINE_S,), kwargs={"on_progress": lambda _: begun.set()})
        waiter.start()
        assert begun.wait(DEADLINE_S)
        os.kill(victim, signal.SIGKILL)
        waiter.join(DEADLINE_S)
        assert job.status is JobStatus.FINISHED
    assert sorted(out.items) == list(range(200_000))


SCRIPT = """
import itertools
import sage

flow = sage.Flow("interrupted")
flow.from_collection(itertools.count()).filter(lambda n: n % 1_000_000 == 0).print()
if __name__ == "__main__":
    flow.run("local:2", progress=False)
"""


def test_ctrl_c_cancels_ends_the_nodes_and_leaves_nothing() -> None:
    with user_at_home() as user:
        (user.home / "script.py").write_text(SCRIPT)
        with user.popen("script.py") as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "0\n"
            assert len(user.processes()) >= 4
            os.killpg(running.pid, signal.SIGINT)
            _, said = running.communicate(timeout=DEADLINE_S)
        assert running.returncode == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt")
        user.wait_gone()


def test_nothing_outlives_a_caller_that_is_killed() -> None:
    with user_at_home() as user:
        (user.home / "script.py").write_text(SCRIPT)
        with user.popen("script.py") as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "0\n"
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(GONE_S)
        user.wait_gone()


@pytest.mark.parametrize("address", ["local:0", "local:x", "local:", "local:-1", "local:99999"])
def test_a_number_of_nodes_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UnknownAddress, match="no number of nodes"):
        num_nodes_of(address)


def test_the_nodes_of_a_cluster_share_the_machine() -> None:
    with nodes_here(3, settings=Settings()) as cluster:
        nodes = cluster.nodes()
        pids = {state.pid for state in cluster.node_states()}
    assert len(nodes) == len(pids) == 3
    assert sum(node.total.cpus for node in nodes) == pytest.approx(len(os.sched_getaffinity(0)))
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


UNGUARDED = """
import threading
import sage

lock = threading.Lock()  # cannot travel: the nodes import this file instead
flow = sage.Flow("unguarded")
flow.from_collection([1]).for_each(lambda number: lock.locked())
flow.run("local:1", progress=False)
"""


def test_a_script_that_runs_its_flow_when_imported_is_told_so_and_runs_on_no_node_again() -> None:
    with user_at_home() as user:
        (user.home / "script.py").write_text(UNGUARDED)
        done = user.python("script.py")
        user.wait_gone()
    assert done.returncode == 1
    assert "was about to run a flow while it loaded one" in done.stderr
    assert 'if __name__ == "__main__"' in done.stderr


TOP_LEVEL = """
import sage

flow = sage.Flow("top-level")
out = flow.from_collection([1, 2]).map(lambda number: 2 * number).collect()
flow.run("local:1", progress=False)
print(out.items)
"""


def test_a_script_without_a_guard_runs_once() -> None:
    with user_at_home() as user:
        (user.home / "script.py").write_text(TOP_LEVEL)
        assert user.python("script.py").stdout == "[2, 4]\n"
        user.wait_gone()
