"""A head that is killed and started again: jobs, nodes and whoever waits go on, and nothing is lost in silence."""

import os
import signal
import socket as sockets
from collections.abc import Callable, Iterator

import msgspec
import pytest

from cluster.head.predecessors import PRESENCE, Reign
from cluster.runtime.presence import nobody_is_present
from sage.base.clock import SystemClock
from tests.cluster.cluster_command import GONE_S, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

RUN_CLUSTER = "import sys; from cluster.commands.cluster import main; sys.exit(main())"

FLOWS = """
import os
import sage

def wait_for_go(number):
    open("go").close()  # a pipe: it opens once somebody writes to it
    return number

def fail(number):
    raise ValueError(f"no room for {number}")

quick = sage.Flow("quick")
quick.from_collection([1, 2, 3]).for_each(lambda number: None)
failing = sage.Flow("failing")
failing.from_collection([7]).map(fail).for_each(lambda number: None)
def hold_the_last(number):
    return wait_for_go(number) if number == 49_999 else number

collecting = sage.Flow("collecting")
numbers = collecting.from_collection(range(50_000)).map(hold_the_last).with_parallelism(1).collect()
printing = sage.Flow("printing")
printing.from_collection(["before", "after"]).map(lambda text: wait_for_go(text) if text == "after" else text).print()
if __name__ == "__main__":
    result = collecting.run("ipc://" + os.environ["XDG_RUNTIME_DIR"] + "/sage/clusters/default/control")
    print(result.status, sorted(numbers.items) == list(range(50_000)), *result.guarantees)
held = sage.Flow("held")
held.from_collection(range(100)).map(wait_for_go).write_jsonl("held.jsonl")
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


def kill_head(user: ClusterCommand, *, but_leave: int = 0) -> None:
    """Kill the head; its nodes have ended when this returns, and of the user's processes so many are left."""
    os.kill(user.json("status")["head_pid"], signal.SIGKILL)
    eventually(lambda: len(user.processes()) == but_leave, GONE_S)
    assert user.files() == []


def statuses(user: ClusterCommand) -> dict[str, str]:
    return {job["name"]: job["metrics"]["status"] for job in user.json("jobs")}


def test_jobs_that_were_over_are_listed_and_the_others_begin_again(
    user: ClusterCommand, go: Callable[[], None]
) -> None:
    user("start", "--nodes", "2")
    user("submit", "flows.py:quick", "--wait")
    user("submit", "flows.py:failing", "--wait", status=1)
    held = user("submit", "flows.py:held").strip()
    eventually(lambda: statuses(user)["held"] == "running", GONE_S)
    said = user.home / ".local/state/sage/journals/default"
    assert not nobody_is_present(said / PRESENCE, 0.0), "the head after this one asks for that"
    kill_head(user)
    assert nobody_is_present(said / PRESENCE, GONE_S), "a process that ends has lost its memory before its locks"
    assert "SAGE-2502" in user("jobs", status=1)
    user("start", "--nodes", "2")
    assert msgspec.json.decode((said / "head.json").read_bytes(), type=Reign).over_s <= SystemClock().monotonic_s()
    assert [job["name"] for job in user.json("jobs")] == ["quick", "failing", "held"]
    quick, failing, _ = user.json("jobs")
    assert (quick["metrics"]["status"], quick["metrics"]["records_in"]) == ("finished", 3)
    assert failing["metrics"]["status"] == "failed"
    assert "in fail" in user("job", failing["job_id"])
    eventually(lambda: statuses(user)["held"] == "running", GONE_S)
    go()
    eventually(lambda: statuses(user)["held"] == "finished", GONE_S)
    assert user.json("job", held)["state"]["num_restarts"] == 1
    assert (user.home / "held.jsonl").read_text().split() == [str(number) for number in range(100)]


def restart(user: ClusterCommand, go: Callable[[], None]) -> None:
    kill_head(user, but_leave=1)
    user("start", "--nodes", "2")
    go()


def test_whoever_waits_gets_every_item_once_from_the_head_that_returned(
    user: ClusterCommand, go: Callable[[], None]
) -> None:
    user("start", "--nodes", "2")
    with user.popen("flows.py") as waiting:
        eventually(lambda: statuses(user).get("collecting") == "running", GONE_S)
        eventually(lambda: user.json("jobs")[0]["metrics"]["records_out"] > 10_000, GONE_S)
        restart(user, go)
        said, errors = waiting.communicate(timeout=60.0)
    assert (waiting.returncode, said.split()[:2]) == (0, ["finished", "True"]), (said, errors)
    assert "cluster found again" in errors


def test_logs_are_followed_over_the_loss_of_the_head(user: ClusterCommand, go: Callable[[], None]) -> None:
    user("start", "--nodes", "2")
    job_id = user("submit", "flows.py:printing").strip()
    with user.popen("-c", RUN_CLUSTER, "logs", job_id, "-f") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "before\n"
        restart(user, go)
        said, errors = following.communicate(timeout=60.0)
    assert (following.returncode, said) == (0, "before\nafter\n"), (said, errors)


def test_a_head_that_does_not_come_back_ends_the_wait_with_what_to_do(user: ClusterCommand) -> None:
    user("start")
    (user.home / "sage.toml").write_text("[cluster]\nreconnect_s = 1.0\n")
    with user.popen("-c", RUN_CLUSTER, "submit", "flows.py:held", "--wait") as waiting:
        eventually(lambda: statuses(user).get("held") == "running", GONE_S)
        kill_head(user, but_leave=1)
        said, errors = waiting.communicate(timeout=30.0)
    assert (waiting.returncode, said) == (1, "")
    assert "has not come back within 1 s" in errors
    assert "sage-cluster start" in errors


def test_a_head_with_a_damaged_journal_does_not_start_and_says_what_to_do(user: ClusterCommand) -> None:
    user("start")
    user("submit", "flows.py:quick", "--wait")
    user("stop")
    journal = user.home / ".local/state/sage/journals/default/jobs.db"
    assert (journal.stat().st_mode & 0o777, journal.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b"quick", b"quack"))
    said = user("start", status=1)
    assert "SAGE-2112" in said
    assert "it is corrupt" in said
    assert "Start with --mend-journal" in said
    user.wait_gone()
    user("start", "--mend-journal")
    assert statuses(user) == {}
    user("stop")
    assert journal.with_name("jobs.db.damaged-1").exists()
    journal.write_bytes(whole)
    journal.with_name("jobs.db.seen").unlink()
    user("start")
    assert statuses(user) == {"quick": "finished"}


def test_a_machine_that_joined_asks_with_its_nodes_key_and_comes_back_to_a_new_head_by_itself(
    user: ClusterCommand,
) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with user_at_home() as other:
        user("start", "--address", address)
        other("join", address, "--token", user("token").strip(), "--node", "far")
        assert {node["view"]["node_id"] for node in other.json("nodes")} == {"node-1", "far"}
        assert (other.json("status")["nodes"], other.json("jobs")) == (2, [])
        (other.home / "flows.py").write_text(FLOWS)
        assert "a node may not say SubmitFlow" in other("submit", "flows.py:quick", status=1)
        epochs = {node["view"]["node_id"]: node["epoch"] for node in user.json("nodes")}
        os.kill(user.json("status")["head_pid"], signal.SIGKILL)
        eventually(lambda: not user.processes(), GONE_S)
        user("start", "--address", address)
        eventually(lambda: len(user.json("nodes")) == 2, GONE_S)
        assert all(node["epoch"] > epochs[node["view"]["node_id"]] for node in user.json("nodes"))
        (far,) = other.processes()
        far.kill()
        far.wait(GONE_S)
        assert other.files() != []
        other("start", "--nodes", "0", "--name", "another")
        other("stop", "--name", "another")
        other.wait_gone()
