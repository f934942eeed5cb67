"""`sage-cluster` as users use it: start, look, submit, cancel, stop, and what is left when everything is over."""

import json
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.cluster.cluster_command import GONE_S, ClusterCommand, shared_memory, user_at_home

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

FLOWS = """
import dataclasses
import itertools
import sys
import sage

def fail_at_999(number):
    if number == 999:
        raise ValueError(f"no room for {number}")
    return number

words = sage.Flow("words")
counts = (
    words.read_text("*.txt")
    .flat_map(str.split).with_parallelism(2)
    .key_by(lambda word: word).with_parallelism(2)
    .count(final=True).with_parallelism(2)
    .write_jsonl("counts.jsonl")
)
failing = sage.Flow("failing")
failing.from_collection(range(2_000)).map(fail_at_999).for_each(lambda number: None)
choosy = sage.Flow("choosy")
numbers = choosy.from_collection(range(1_001))
numbers.map(fail_at_999).named("check").on_error("dead_letter").for_each(lambda number: None)
endless = sage.Flow("endless")
endless.from_collection(itertools.count()).filter(lambda n: n % 1_000_000 == 0).print()
keeping = sage.Flow("keeping")
keeping.from_collection([1, 2, 3]).collect()

@dataclasses.dataclass
class Pair:
    word: str
    number: int

pairing = sage.Flow("pairing")
pairing.from_collection(["to"]).map(lambda word: Pair(word, 1)).collect()
passing = sage.Flow("passing")
passing.from_collection([Pair("to", 1), Pair("be", 2)]).map(lambda pair: pair).with_parallelism(2).collect()
def heard(word):
    print("heard", word, flush=True)
    print("and", end=" ", file=sys.stderr)
    return word

talking = sage.Flow("talking")
talking.from_collection(["to", "be"]).map(heard).print()
"""


@pytest.fixture(scope="module")
def running() -> Iterator[ClusterCommand]:
    """A cluster of two nodes, which at the end of the module is stopped and has left nothing."""
    memory = shared_memory()
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOWS)
        for name in ("a", "b"):
            (command.home / f"{name}.txt").write_text("to be or not to be\n" * 500)
        started = command("start", "--nodes", "2")
        assert "sage-cluster submit" in started
        yield command
        command("stop")
        command.wait_gone()
        assert shared_memory() <= memory


def test_status_and_nodes_say_what_runs(running: ClusterCommand) -> None:
    status = running.json("status")
    assert (status["cluster"], status["nodes"]) == ("default", 2)
    assert psutil.pid_exists(status["head_pid"])
    nodes = running.json("nodes")
    assert len({node["view"]["node_id"] for node in nodes}) == 2
    assert {node["state"] for node in nodes} == {"alive"}
    head, *forked = (psutil.Process(pid) for pid in (status["head_pid"], *(node["pid"] for node in nodes)))
    assert {process.ppid() for process in forked} == {head.pid}
    assert all(process.cmdline() == head.cmdline() for process in forked), "they share what the head had imported"
    assert sum(node["view"]["total"]["cpus"] for node in nodes) <= len(os.sched_getaffinity(0))
    assert "alive" in running("nodes")
    assert "2 nodes" in running("status")
    assert "2 nodes" in running("top")


def test_starting_twice_says_what_runs_and_starts_nothing(running: ClusterCommand) -> None:
    before = {process.pid for process in running.processes()}
    said = running("start", status=1)
    assert "SAGE-2503" in said
    assert "sage-cluster stop" in said
    assert {process.pid for process in running.processes()} == before


def test_more_gpus_than_there_are_are_refused_at_once(running: ClusterCommand) -> None:
    said = running("start", "--name", "greedy", "--gpus", "4096", status=1)
    assert "4096" in said
    assert "before it joined" in said
    assert running.run("status", "--name", "greedy").returncode == 1


def test_words_are_counted_on_both_nodes(running: ClusterCommand) -> None:
    result = running.json("submit", "flows.py:words", "--wait")
    assert (result["status"], result["records_in"]) == ("finished", 1_000)
    lines = (running.home / "counts.jsonl").read_text().splitlines()
    assert sorted(lines) == ['["be",2000]', '["not",1000]', '["or",1000]', '["to",2000]']
    job = running.json("job", result["job_id"])
    assert len({node for chain in job["state"]["metrics"]["chains"] for node in chain["nodes"]}) == 2
    assert "words" in running("job", result["job_id"])
    assert result["job_id"] in {state["job_id"] for state in running.json("jobs")}


def test_what_a_job_collects_without_a_client_is_kept_for_whoever_asks(running: ClusterCommand) -> None:
    submitted = running.run("submit", "flows.py:keeping")
    job_id = submitted.stdout.strip()
    assert f"sage-cluster job {job_id} --results" in submitted.stderr
    running("logs", job_id, "--follow")
    for _ in range(2):
        assert running("job", job_id, "--results").split() == ["1", "2", "3"]
    found = running.json("job", job_id, "--results")
    assert (found["status"], found["num_dropped"], found["results"]) == ("finished", 0, {"collect": [1, 2, 3]})


def test_records_of_a_flows_own_classes_are_read_with_the_flow(running: ClusterCommand) -> None:
    job_id = running("submit", "flows.py:pairing").strip()
    running("logs", job_id, "--follow")
    assert "--flow FILE[:FLOW]" in running("job", job_id, "--results", status=1)
    shown = running("job", job_id, "--results", "--flow", "flows.py:pairing")
    assert shown == '{"word":"to","number":1}\n'


SCRIPT = """
import dataclasses
import enum
import sys
import sage

class Kind(enum.Enum):
    GOOD = 1

@dataclasses.dataclass
class Pair:
    word: str
    kind: Kind

if __name__ == "__main__":
    flow = sage.Flow("script")
    pairs = flow.from_collection([Pair("to", Kind.GOOD), Pair("be", Kind.GOOD)]).map(lambda pair: pair)
    found = pairs.with_parallelism(2).map(lambda pair: [pair]).with_parallelism(2).collect()
    flow.run(sys.argv[1], timeout_s=50, progress=False)
    assert all(type(pair) is Pair for pair, in found.items)
    print(sorted(pair.word for pair, in found.items))
"""


def test_classes_that_only_the_items_of_a_collection_are_of_travel_with_a_users_file(running: ClusterCommand) -> None:
    (running.home / "script.py").write_text(SCRIPT)
    for address in ("local:2", running.json("status")["address"]):
        done = running.python("script.py", address)
        assert (done.stdout, done.returncode) == ("['be', 'to']\n", 0), (address, done.stderr)
    assert running.json("submit", "flows.py:passing", "--wait")["status"] == "finished"


def test_a_job_is_explained_while_it_runs(running: ClusterCommand) -> None:
    job_id = running("submit", "flows.py:endless").strip()
    (line,) = running("job", job_id, "--explain").splitlines()
    assert line.startswith("from_collection -> filter")
    assert ": on node-" in line
    assert running.json("job", job_id, "--explain")["placement"] == [line]
    running("cancel", job_id)


def test_what_a_job_prints_is_in_its_log(running: ClusterCommand) -> None:
    job_id = running("submit", "flows.py:talking").strip()
    said = running("logs", job_id, "--follow").splitlines()
    lines = running.json("logs", job_id)["lines"]
    [node] = {line["node"] for line in lines}
    step = "from_collection > map > print"
    assert [line for line in said if not line.startswith("[")] == ["to", "be"]
    assert [line for line in said if line.startswith("[")] == [
        f"[{node} {step}] heard to",
        f"[{node} {step}] heard be",
        f"[{node} {step}] and and ",
    ]
    assert {(line["to"], line["text"]) for line in lines if line["step"] == step} == {
        ("stdout", "heard to"),
        ("stdout", "heard be"),
        ("stderr", "and and "),
    }
    documents = [json.loads(line) for line in running("logs", job_id, "-f", "--json").splitlines()]
    assert documents == [{"job_id": job_id, **line} for line in lines]


def test_a_user_function_that_raises_fails_the_job_and_is_shown_first(running: ClusterCommand) -> None:
    said = running("submit", "flows.py:failing", "--wait", status=1)
    assert said.index("in fail_at_999") < said.index("SAGE-1301")
    assert "ValueError: no room for 999" in said
    failed = next(job for job in running.json("jobs") if job["name"] == "failing")
    assert failed["metrics"]["status"] == "failed"
    assert "in fail_at_999" in running("job", failed["job_id"])


def test_dead_letters_are_told_and_replayed_where_they_lie(running: ClusterCommand) -> None:
    job_id = running.json("submit", "flows.py:choosy", "--wait")["job_id"]
    [letter] = running.json("dead-letters", job_id)["dead_letters"]
    assert (letter["step"], letter["value"], letter["error"]) == ("check", "999", "ValueError: no room for 999")
    assert letter["node"] in {node["view"]["node_id"] for node in running.json("nodes")}
    said = running("dead-letters", job_id)
    assert f"again, on the machine of {letter['node']}: sage replay {letter['id']}" in said
    again = running.python("-c", RUN_SAGE, "replay", letter["id"], "--no-pdb")
    assert (again.returncode, "ValueError: no room for 999" in again.stderr) == (1, True)
    elsewhere = running.python("-c", RUN_SAGE, "replay", f"{letter['id']}0")
    assert "sage-cluster dead-letters JOB" in elsewhere.stderr


def test_a_long_job_is_cancelled(running: ClusterCommand) -> None:
    job_id = running.json("submit", "flows.py:endless")["job_id"]
    assert running.json("cancel", job_id)["status"] == "cancelled"
    assert running.json("cancel", job_id)["status"] == "cancelled"


def test_ctrl_c_cancels_a_job_that_is_waited_for(running: ClusterCommand) -> None:
    waiting = running.popen("-c", RUN_CLUSTER, "submit", "flows.py:endless", "--wait")
    with waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "0\n"
        os.killpg(waiting.pid, signal.SIGINT)
        _, said = waiting.communicate(timeout=GONE_S)
    assert (waiting.returncode, said) == (130, "cancelled\n")
    endless = [job for job in running.json("jobs") if job["name"] == "endless"]
    assert {job["metrics"]["status"] for job in endless} == {"cancelled"}


RUN_SAGE = "import sys; from sage.cli import main; sys.exit(main())"
RUN_CLUSTER = "import sys; from cluster.commands.cluster import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("job", "job-none"), "SAGE-1305"), (("cancel", "job-none"), "SAGE-1305"), (("drain", "none"), "SAGE-1306")],
)
def test_what_is_not_there_is_named(running: ClusterCommand, arguments: tuple[str, ...], code: str) -> None:
    assert code in running(*arguments, status=1)


def test_wrong_usage_exits_2(running: ClusterCommand) -> None:
    running("submit", "no-such-file.py", status=2)
    running("submit", "flows.py", status=2)
    running("nodez", status=2)


def test_without_a_cluster_every_look_says_what_to_do() -> None:
    with user_at_home() as command:
        for verb in (["status"], ["nodes"], ["jobs"], ["stop"], ["token"]):
            said = command(*verb, status=1)
            assert "SAGE-2502" in said
            assert "sage-cluster start" in said


def test_a_killed_head_leaves_nothing_and_another_can_be_started() -> None:
    with user_at_home() as command:
        command("start", "--nodes", "1", "--engine", "simulated:h100,model=sim")
        os.kill(command.json("status")["head_pid"], signal.SIGKILL)
        command.wait_gone()
        command("start", "--nodes", "1")
        command("stop")
        command.wait_gone()
