"""Windows and joins in RocksDB on a started cluster: a node is killed, and a savepoint goes on in memory and back."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster_command import GONE_S, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

NUM_RECORDS, NUM_KEYS, LEN_WINDOW_S = 8_000, 400, 1_000
OUT = ("windows.jsonl", "pairs.jsonl")

FLOWS = f"""
import sage
from dataclasses import dataclass
from pathlib import Path
from threading import Event

NEVER = Event()

@dataclass
class Gated:
    '''Numbers, of which the second half comes once there is a file; another one says that it waits.'''

    gate: str

    def open(self):
        return self.open_at(0)

    def open_at(self, position):
        return Reader(self.gate, position)

class Reader:
    def __init__(self, gate, position):
        self.gate, self.next = Path(gate), position

    def read(self, max_records):
        if self.next == {NUM_RECORDS}:
            return None
        if self.next >= {NUM_RECORDS // 2} and not self.gate.exists():
            Path("waits").touch()
            NEVER.wait(0.01)
            return []
        begin, self.next = self.next, min(self.next + 50, {NUM_RECORDS})
        return list(range(begin, self.next))

    def position(self):
        return self.next

    def close(self):
        pass

def flow_of(num_instances):
    flow = sage.Flow("stored")
    numbers = flow.from_source(Gated("go"), timestamp=float).key_by(lambda n: n % {NUM_KEYS})
    windows = numbers.window(sage.Tumbling({LEN_WINDOW_S})).collect().named("windows").with_parallelism(num_instances)
    windows.map(lambda w: [w.key, w.start, w.value]).write_jsonl("windows.jsonl")
    pairs = numbers.join(numbers).within(0, {NUM_KEYS}).named("pairs").with_parallelism(num_instances)
    pairs.map(list).write_jsonl("pairs.jsonl")
    return flow

two, three = flow_of(2), flow_of(3)
"""


@pytest.fixture
def user() -> Iterator[ClusterCommand]:
    """A user with flows and a cluster of two nodes; nothing of it is left at the end."""
    with user_at_home() as command:
        (command.home / "flows.py").write_text(FLOWS)
        command("start", "--nodes", "2")
        yield command
        command("stop")
        command.wait_gone()


def lines(file: Path) -> list[Any]:
    return sorted(json.loads(line) for line in file.read_text().splitlines())


def check(folder: Path) -> None:
    starts = range(0, NUM_RECORDS, LEN_WINDOW_S)
    of: dict[tuple[int, int], list[int]] = {(key, start): [] for key in range(NUM_KEYS) for start in starts}
    for number in range(NUM_RECORDS):
        of[number % NUM_KEYS, number // LEN_WINDOW_S * LEN_WINDOW_S].append(number)
    assert lines(folder / "windows.jsonl") == sorted([key, start, numbers] for (key, start), numbers in of.items())
    near = [[n, n] for n in range(NUM_RECORDS)] + [[n, n + NUM_KEYS] for n in range(NUM_RECORDS - NUM_KEYS)]
    assert lines(folder / "pairs.jsonl") == sorted(near)


def half_way(user: ClusterCommand) -> None:
    """Wait until the first half was read."""
    (user.home / "waits").unlink(missing_ok=True)
    eventually((user.home / "waits").exists, GONE_S)


def has_ended(user: ClusterCommand) -> bool:
    return all((user.home / name).exists() for name in OUT)


def test_a_node_is_killed_and_a_savepoint_of_tables_goes_on_in_memory_and_back(user: ClusterCommand) -> None:
    begun = ("submit", "flows.py:two", "--checkpoint", "kept", "--every-s", "0.1", "--state", "rocksdb")
    job_id = user(*begun).strip()
    half_way(user)
    user("savepoint", job_id, "of-tables")
    os.kill(user.json("nodes")[0]["pid"], signal.SIGKILL)
    (user.home / "go").touch()
    eventually(lambda: has_ended(user), GONE_S)
    assert user.json("job", job_id)["state"]["num_restarts"] == 1
    check(user.home)
    (user.home / "go").unlink()
    written_ns = [(user.home / name).stat().st_mtime_ns for name in OUT]
    in_memory = ("submit", "flows.py:three", "--checkpoint", "other", "--every-s", "0.1", "--savepoint", "of-tables")
    job_id = user(*in_memory).strip()
    half_way(user)
    user("savepoint", job_id, "of-memory")
    user("cancel", job_id)
    (user.home / "go").touch()
    back = ("submit", "flows.py:two", "--checkpoint", "back", "--savepoint", "of-memory", "--state", "rocksdb")
    user(*back, "--wait")
    check(user.home)
    assert all((user.home / name).stat().st_mtime_ns > ns for name, ns in zip(OUT, written_ns, strict=True))
