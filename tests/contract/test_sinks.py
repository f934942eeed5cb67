"""Sinks of several instances: whatever is killed and however many go on, each record is there once.

One suite for every sink that can be gone on with; those that cannot are tested with what they write to.
"""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest

import sage
from operators.failure import Failures
from operators.rescale import dealt_out
from operators.state import StepState
from operators.writing import Writing
from sage.base.errors import SinkUnwritable
from sage.flow.connectors.parquet_sink import ParquetSink
from sage.flow.connectors.text_sinks import CsvSink, TextSink
from sage.flow.ports import Sink, Written
from sage.flow.sinks import JsonLinesSink, ListSink
from sage.flow.spec import Write
from tests.unit.operators.arrange import step
from tests.unit.two_phases import LedgerSink, MemoryLedger

NUM_RECORDS = 40
NUM_LIVES = 6
SEEDS = range(12)
MAX_INSTANCES = 4
SCHEMA = pa.schema([("n", pa.int64())])


@dataclass(frozen=True)
class Case:
    """A sink of numbers. `files`: the pattern of its files, "" where it has none; `read`: the numbers in one."""

    sink: Any
    files: str = ""
    read: Callable[[str], list[int]] = lambda path: []
    record: Callable[[int], Any] = int
    shown: Callable[[Any], list[int]] | None = None

    def numbers(self, num_instances: int | None = None) -> list[int]:
        """Return what others see, which must be in files of these instances."""
        if self.shown is not None:
            return sorted(self.shown(self.sink))
        names = there(self.files)
        if num_instances is not None:
            assert names == [self.files.replace("{instance}", str(at)) for at in range(num_instances)]
        return sorted(number for name in names for number in self.read(name))


def there(pattern: str) -> list[str]:
    system, path = fsspec.url_to_fs(pattern.replace("{instance}", "*"))
    names = sorted(system.glob(path))
    return names if "://" not in pattern else [system.unstrip_protocol(name) for name in names]


def content_of(path: str) -> bytes:
    system, name = fsspec.url_to_fs(path)
    content: bytes = system.cat_file(name)
    return content


def put(path: str, content: str) -> None:
    system, name = fsspec.url_to_fs(path)
    system.makedirs(name.rpartition("/")[0], exist_ok=True)
    system.pipe_file(name, content.encode())


def lines_of(path: str) -> list[int]:
    content = content_of(path)
    return [int(line) for line in (gzip.decompress(content) if path.endswith(".gz") else content).split()]


def rows_of(path: str) -> list[int]:
    head, *rows = content_of(path).split()
    assert head == b"n"
    return [int(row) for row in rows]


def table_of(path: str) -> list[int]:
    flow = sage.Flow("read")
    found = flow.read_parquet(path).collect()
    flow.run(progress=False)
    return [row["n"] for row in found.items]


def row(number: int) -> dict[str, int]:
    return {"n": number}


def file_case(make: Callable[..., Any], name: str, read: Any, record: Any = row, **more: Any) -> Callable[[str], Case]:
    return lambda place: Case(make(f"{place}/{name}", **more), f"{place}/{name}", read, record)


FILES: dict[str, Callable[[str], Case]] = {
    "text": file_case(TextSink, "out-{instance}.txt", lines_of, str),
    "packed": file_case(TextSink, "out-{instance}.txt.gz", lines_of, str),
    "json lines": file_case(JsonLinesSink, "{instance}.jsonl", lines_of, int),
    "csv": file_case(CsvSink, "out-{instance}.csv", rows_of, columns=("n",)),
    "parquet": file_case(ParquetSink, "out-{instance}.parquet", table_of, schema=SCHEMA),
}
SINKS: dict[str, Callable[[str], Case]] = {
    **FILES,
    "url": lambda place: FILES["text"](f"memory://{uuid4().hex}"),
    "collect": lambda place: Case(ListSink(), shown=lambda sink: sink.items),
    "two phases": lambda place: Case(LedgerSink(MemoryLedger()), shown=lambda sink: sink.ledger.records),
}


def instances(sink: Sink[Any], num: int, saved: Sequence[StepState] | None) -> list[Writing]:
    """Return the instances of a run that begins, or goes on from what as many others held."""
    written = [Writing(replace(step(Write(sink)), parallelism=num), sink, Failures(), at) for at in range(num)]
    for at, writing in enumerate(written):
        if saved is None:
            writing.open()
        else:
            writing.restore(dealt_out(saved, at, num))
    return written


def write(case: Case, writing: Writing, numbers: Sequence[int]) -> None:
    writing.run([case.record(number) for number in numbers], None, None)


def kill(written: Sequence[Writing]) -> None:
    for writing in written:
        writing.close(complete=False)


def checkpoint(written: Sequence[Writing]) -> list[StepState]:
    states = [writing.snapshot() for writing in written]
    for state in states:
        if state.settle is not None:
            state.settle()
    return [replace(state, grown=list(state.grown)) for state in states]


def show(states: Sequence[StepState], num: int) -> None:
    """The checkpoint is complete: as many instances hear of it as are not killed before."""
    for state in islice(states, num):
        if state.commit is not None:
            state.commit()


@dataclass
class Lives:
    """A flow to one sink that lives several times, with any number of instances each."""

    case: Case
    rng: Random
    saved: list[StepState] | None = None
    begins_at: int = 0
    num: int = 0

    def live(self, *, is_last: bool) -> bool:
        """Write from the last checkpoint on, until it is killed or all is done; say which."""
        rng, at = self.rng, self.begins_at
        self.num = self.num if self.saved is not None and rng.random() < 0.3 else rng.randint(1, MAX_INSTANCES)
        written = instances(self.case.sink, self.num, self.saved)
        while at < NUM_RECORDS:
            end = min(NUM_RECORDS, at + rng.randint(1, 9))
            rng.choice(written).run([self.case.record(number) for number in range(at, end)], None, None)
            at = end
            if at == NUM_RECORDS or rng.random() < 0.5:
                self.saved, self.begins_at = checkpoint(written), at
                show(self.saved, self.num if is_last else rng.randint(0, self.num))
            if not is_last and rng.random() < 0.2:
                kill(written)
                return False
        if self.begins_at < NUM_RECORDS:
            raise AssertionError("the last checkpoint holds all")
        num_ended = self.num if is_last else rng.randint(0, self.num)
        if self.saved is not None:
            show(self.saved, self.num if num_ended else 0)
        for writing in written[:num_ended]:
            writing.close(complete=True)
        kill(written[num_ended:])
        return num_ended == self.num


@pytest.mark.parametrize("name", SINKS)
def test_each_record_is_there_once_whatever_is_killed_and_however_many_instances_go_on(
    name: str, tmp_path: Path
) -> None:
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = SINKS[name](str(folder))
        lives = Lives(case, Random(seed))
        for number in range(NUM_LIVES):
            if lives.live(is_last=number == NUM_LIVES - 1):
                break
        assert case.numbers() == list(range(NUM_RECORDS)), f"seed {seed}"
        assert not [left.name for left in folder.iterdir() if left.name.startswith(".")], f"seed {seed}"


@pytest.mark.parametrize("name", [*FILES, "two phases"])
def test_what_was_kept_until_shares_were_is_gone_on_with(name: str, tmp_path: Path) -> None:
    case = SINKS[name](str(tmp_path))
    (before,) = instances(case.sink, 1, None)
    before.run([case.record(0)], None, None)
    [state] = checkpoint([before])
    [(_, position)] = state.heard
    kill([before])
    (after,) = instances(case.sink, 1, [StepState(fixed=position)])
    after.run([case.record(1)], None, None)
    after.close(complete=True)
    assert case.numbers() == [0, 1]


@dataclass(frozen=True)
class ToldSink:
    """Says what is done with each share."""

    told: list[str]
    number: int = 0

    def share(self, number: int, num_shares: int) -> "ToldSink":
        return replace(self, number=number)

    def open(self) -> "ToldSink":
        return self

    def resume(self, position: Any, contents: Sequence[Any]) -> "ToldSink":
        return self.share(position, 0)

    def write(self, records: Sequence[Any]) -> None:
        self.tell("write")

    def written(self) -> Written:
        return Written(self.number, settle=lambda: self.tell("settle"), commit=lambda: self.tell("commit"))

    def close(self, *, complete: bool) -> None:
        self.tell("close")
        if self.number == 1:
            raise SinkUnwritable("a disk is full")

    def tell(self, what: str) -> None:
        self.told.append(f"{what} {self.number}")


def test_shares_that_others_left_are_settled_committed_and_closed_with_its_own() -> None:
    sink = ToldSink([])
    (alone,) = instances(sink, 1, checkpoint(instances(sink, 3, None)))
    sink.told.clear()
    alone.run([1], None, None)
    show(checkpoint([alone]), 1)
    with pytest.raises(SinkUnwritable, match="a disk is full"):
        alone.close(complete=True)
    of_each = [f"{what} {number}" for what in ("settle", "commit", "close") for number in range(3)]
    assert sink.told == ["write 0", *of_each]


@pytest.mark.parametrize("place", ["file", "url"])
@pytest.mark.parametrize("name", FILES)
def test_a_position_of_another_form_is_refused_and_said(name: str, place: str, tmp_path: Path) -> None:
    case = FILES[name](str(tmp_path) if place == "file" else f"memory://{uuid4().hex}")
    [state] = checkpoint(written := instances(case.sink, 1, None))
    kill(written)
    [(_, position)] = state.heard
    for other in ((), ("x", 1), ("x", "y", 2, 3), (position, None), (position, b"", 1), ((), None), ((), b"", 1), 7):
        with pytest.raises(SinkUnwritable, match="kept in a form that is not read here"):
            case.sink.resume(other, ())


def test_a_share_that_cannot_be_gone_on_with_lets_go_of_the_others(tmp_path: Path) -> None:
    case = FILES["text"](str(tmp_path))
    states = checkpoint(written := instances(case.sink, 3, None))
    kill(written)
    for left in tmp_path.glob(".out-2.txt.*"):
        left.unlink()
    alone = Writing(step(Write(case.sink)), case.sink, Failures())
    with pytest.raises(SinkUnwritable, match=r"out-2\.txt was written before, is gone"):
        alone.restore(dealt_out(states, 0, 1))
    alone.close(complete=False)
    assert sorted(path.name[:11] for path in tmp_path.iterdir()) == [".out-0.txt.", ".out-1.txt."]


@pytest.mark.parametrize("name", FILES)
def test_each_instance_of_a_flow_writes_a_file_of_its_own(name: str, tmp_path: Path) -> None:
    case = FILES[name](str(tmp_path))
    flow = sage.Flow("files")
    records = flow.from_collection([case.record(number) for number in range(NUM_RECORDS)])
    records.with_parallelism(2).to(case.sink).with_parallelism(3)
    flow.run(progress=False, timeout_s=30)
    assert case.numbers(num_instances=3) == list(range(NUM_RECORDS))


@pytest.mark.parametrize("place", ["files", "url"])
def test_a_file_of_a_run_with_more_instances_is_not_left_among_those_of_this_one(place: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if place == "files" else f"memory://{uuid4().hex}"
    pattern = folder + "/[a]{instance}/out-{instance}.txt"
    for at, name in enumerate(["[a]0/out-0", "[a]1/out-1", "[a]7/out-2", "[a]-1/out--1", "[a]x/out-x"]):
        put(f"{folder}/{name}.txt", f"{at}\n")
    kill(instances(TextSink(pattern), 2, None))
    for num in (1, 2):
        put(f"{folder}/[a]{num}/out-{num}.txt", "old\n")
        with pytest.raises(SinkUnwritable, match=rf"out-{num}.txt is there, of a run with more than {num} instances"):
            instances(TextSink(pattern), num, None)


@pytest.mark.parametrize("name", FILES)
def test_files_of_more_instances_that_no_checkpoint_knows_are_not_taken_for_those_of_this_run(
    name: str, tmp_path: Path
) -> None:
    case = FILES[name](str(tmp_path))
    two = instances(case.sink, 2, None)
    for number, each in enumerate(two):
        write(case, each, [number])
    saved = checkpoint(two)
    kill(two)
    four = instances(case.sink, 4, saved)
    for number, each in enumerate(four):
        write(case, each, [2 + number])
    for each in four[2:]:
        each.close(complete=True)  # before the next checkpoint: the two others are killed
    kill(four[:2])
    with pytest.raises(SinkUnwritable, match="of a run with more than 2 instances"):
        instances(case.sink, 2, saved)
    for path in there(case.files)[-2:]:
        Path(path).unlink()
    again = instances(case.sink, 2, saved)
    for number, each in enumerate(again):
        write(case, each, [2 + number, 4 + number])
        each.close(complete=True)
    assert case.numbers(2) == [0, 1, 2, 3, 4, 5]
