"""Which records of a batch a sink refuses: found by halves, said together, given up at once."""

from collections.abc import Sequence
from math import ceil, log2
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.failure import Failures
from operators.writing import Writing
from sage.base.errors import SinkUnwritable
from sage.flow.connectors.parquet_sink import ParquetSink
from sage.flow.connectors.text_sinks import CsvSink, TextSink
from sage.flow.graph import OnError
from sage.flow.refused import refused_alone
from sage.flow.sinks import JsonLinesSink
from sage.flow.spec import Write
from tests.unit.operators.arrange import step


class RefusingWhole:
    """Takes nothing of what is given together where one of it is bad."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.taken: list[int] = []
        self.num_calls = 0

    def __call__(self, part: Sequence[int]) -> dict[int, str]:
        self.num_calls += 1
        if self.bad.isdisjoint(part):
            self.taken += part
            return {}
        return dict.fromkeys(part, "one is bad")


class RefusingLater(RefusingWhole):
    """Takes what comes before the first bad one."""

    def __call__(self, part: Sequence[int]) -> dict[int, str]:
        self.num_calls += 1
        first = next((at for at, number in enumerate(part) if number in self.bad), len(part))
        self.taken += part[:first]
        return dict.fromkeys(part[first:], "one is bad")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 70), st.sets(st.integers(0, 69)), st.sampled_from([RefusingWhole, RefusingLater]))
def test_exactly_those_at_fault_are_found_and_all_others_are_taken_once_in_order(
    num: int, bad: set[int], kind: type[RefusingWhole]
) -> None:
    sink = kind(bad)
    assert sorted(refused_alone(range(num), sink)) == [number for number in range(num) if number in bad]
    assert sink.taken == [number for number in range(num) if number not in bad]
    assert sink.num_calls <= 1 + 2 * sum(number < num for number in bad) * ceil(log2(num or 1))


SINKS: dict[str, tuple[Any, Any, Any]] = {
    "text": (TextSink("{path}"), "a", 5),
    "csv": (CsvSink("{path}", ("n",)), {"n": "a"}, {"m": 1}),
    "csv text": (CsvSink("{path}", ("n",)), {"n": "a"}, {"n": "\udc80"}),
    "csv rows": (CsvSink("{path}", ("n",)), {"n": "a"}, "a"),
    "jsonl": (JsonLinesSink("{path}"), 1.0, float("nan")),
    "parquet": (ParquetSink("{path}", pa.schema([("n", pa.int8())])), {"n": 1}, {"n": 1 << 40}),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_says_all_that_it_refuses_of_a_batch_and_writes_nothing(name: str, tmp_path: Path) -> None:
    kind, good, bad = SINKS[name]
    writer = type(kind)(str(tmp_path / "x"), *[getattr(kind, each) for each in kind.__slots__[1:]]).open()
    with pytest.raises(SinkUnwritable) as caught:
        writer.write([good, bad, good, bad, bad])
    assert [error.at for error in (caught.value, *caught.value.others)] == [1, 3, 4]
    writer.write([good])
    writer.close(complete=True)


class Refusing:
    """A sink that takes even numbers, and says which it does not take."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []

    def open(self) -> "Refusing":
        return self

    def write(self, records: Sequence[int]) -> None:
        self.written.append(list(records))
        refused = []
        for at, number in enumerate(records):
            if number % 2:
                refused.append(SinkUnwritable(f"{number} is odd"))
                refused[-1].at = at
        if refused:
            refused[0].others = tuple(refused[1:])
            raise refused[0]

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""


def test_all_records_that_are_refused_are_set_aside_and_the_others_are_written_by_one_more_call() -> None:
    sink, failures = Refusing(), Failures()
    writing = Writing(step(Write(sink), on_error=OnError.DEAD_LETTER), sink, failures)
    writing.open()
    writing.run(list(range(10)), None, None)
    assert sink.written == [list(range(10)), list(range(0, 10, 2))]
    letters = failures.take()
    assert [(letter.value, letter.number) for letter in letters] == [(odd, odd + 1) for odd in range(1, 10, 2)]
    assert [letter.error for letter in letters] == [
        f"SinkUnwritable: [SAGE-1303] {odd} is odd" for odd in (1, 3, 5, 7, 9)
    ]
