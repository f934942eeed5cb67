"""Equal keys go to one partition, whatever their type and process."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.keycode import bytes_of_key
from operators.partition import Partitioner, instance_of
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed
from sage.flow.graph import Step, Where
from sage.flow.spec import KeyBy


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    ONE = 1


class Word(StrEnum):
    A = "a"


class Pair(NamedTuple):
    left: int
    right: str


@dataclass(frozen=True)
class Point:
    x: float
    label: str = ""


class User(msgspec.Struct, frozen=True):
    id: int


@pytest.mark.parametrize(
    "equal",
    [
        (1, 1.0, True, Decimal(1), Fraction(1), 1 + 0j, Level.ONE, np.int64(1), np.float32(1)),
        (0, 0.0, -0.0, False),
        (10**300, Decimal(10) ** 300),
        ("a", Word.A, np.str_("a")),
        ((1, "a"), Pair(1, "a"), (True, Word.A)),
        (float("nan"), -float("nan"), Decimal("nan")),
        (frozenset({1, "a"}), frozenset({"a", True})),
        (Point(1), Point(1.0)),
        (User(1), User(True)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_equal_keys_have_equal_bytes(equal: tuple[Any, ...]) -> None:
    assert len({bytes_of_key(key) for key in equal}) == 1


def test_keys_that_differ_have_different_bytes() -> None:
    keys = [
        0, 1, -1, 0.5, "", "0", "1", b"", b"0", None, (), (0,), ("",), (None,), ("a", "b"), ("ab", ""), (("a",), "b"),
        ("a", ("b",)), frozenset(), frozenset({0}), Colour.RED, "RED", Point(0), Point(0, "a"), User(0), float("inf"),
        float("nan"), "\ud800", datetime(2026, 1, 1),  # noqa: DTZ001 - a naive time is a key too
        timedelta(1), UUID(int=0),
    ]  # fmt: skip
    assert len({bytes_of_key(key) for key in keys}) == len(keys)


KEYS: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.fractions(),
    lambda keys: st.lists(keys, max_size=3).map(tuple),
    max_leaves=5,
)


@given(KEYS, KEYS)
def test_bytes_agree_with_equality(left: Any, right: Any) -> None:
    if left == right:
        assert bytes_of_key(left) == bytes_of_key(right)
    else:
        assert bytes_of_key(left) != bytes_of_key(right) or hash(left) == hash(right)


SPOKEN = """
from operators.partition import Partitioner, instance_of
from sage.base.batch import Batch

FALSY = [0, 0.0, -0.0, False, "", b"", (), frozenset(), None]
KEYS = [
    *FALSY, *[(key,) for key in FALSY], ("", 0, None), 1.5, 10**40, b"\\x00", (1, "a"), ((1, "a"), ("b", (2.5, None))),
    "word", "Straße", "größer", "naïve", "nai\\u0308ve", "日本語", "שלום", "🦊", "\\ud800", ("日", "🦊"),
    frozenset("日本語"), frozenset([("é", 1), ("e", 2)]),
]
alone = [instance_of(key, 97) for key in KEYS]
in_batches = {}
for partition, part in Partitioner().split(Batch(list(range(len(KEYS))), KEYS), 97):
    in_batches |= dict.fromkeys(part.values, partition)
"""


def test_falsy_keys_tuples_and_unicode_keep_their_partition_in_every_process() -> None:
    here: dict[str, Any] = {}
    exec(SPOKEN, here)
    assert here["alone"] == [here["in_batches"][number] for number in range(len(here["KEYS"]))]
    assert len(set(here["alone"])) > 20
    environ = {"PYTHONUTF8": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    runs = {
        subprocess.run(
            [sys.executable, "-c", f"{SPOKEN}\nprint([alone, sorted(in_batches.items())])"],
            env={**environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for seed in ("0", "1", "4294967295", "random")
    }  # fmt: skip
    assert runs == {f"{[here['alone'], sorted(here['in_batches'].items())]}\n"}


def test_partitions_of_known_keys_never_change() -> None:
    assert [instance_of(key, 1000) for key in (0, "", None, "word", (1, "a"))] == [974, 619, 133, 668, 576]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers())), st.integers(1, 5))
def test_a_split_loses_nothing_and_keeps_the_order_of_each_key(records: list[tuple[int, int]], num: int) -> None:
    batch = Batch([value for _, value in records], [key for key, _ in records])
    parts = Partitioner().split(batch, num)
    for partition, part in parts:
        assert part.keys is not None
        expected = [record for record in records if instance_of(record[0], num) == partition]
        assert list(zip(part.keys, part.values, strict=True)) == expected
    assert sum(len(part) for _, part in parts) == len(records)


def test_many_keys_are_forgotten_again_and_still_parted_alike() -> None:
    partitioner = Partitioner()
    for start in range(0, 200_000, 50_000):
        partitioner.split(Batch([0] * 50_000, range(start, start + 50_000)), 4)
    assert len(partitioner._instances[4]) <= 1 << 16
    [(partition, _)] = partitioner.split(Batch([0], [7]), 4)
    assert partition == instance_of(7, 4)


@pytest.mark.parametrize("key", [object(), [1], {"a": 1}, (1, [2]), lambda: 0])
def test_what_cannot_be_a_key_is_refused_by_its_type(key: Any) -> None:
    with pytest.raises(RecordFailed, match="cannot be the key of a record"):
        Partitioner().split(Batch([1], [key]), 2)


def test_a_batch_without_keys_has_no_partitions() -> None:
    with pytest.raises(InternalError):
        Partitioner().split(Batch([1]), 2)


@pytest.mark.parametrize("key", [object(), [1]])
def test_a_key_that_is_refused_names_the_step_that_made_it_and_shows_its_line(key: Any) -> None:
    step = Step("by user", KeyBy(hash), (), Where("flow.py", 7))
    with pytest.raises(RecordFailed, match=r"step 'by user' \(flow.py:7\): a \w+ cannot be the key") as refused:
        Partitioner(step).split(Batch([1], [key]), 2)
    assert 'File "flow.py", line 7' in refused.value.user_traceback
    assert "Let key_by return" in refused.value.do
