"""What a task holds comes out of its pieces as it went in, at every step of the way."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.pieces import MAX_PIECES, PieceEncoder, frozen
from cluster.checkpoints.sections import steps_in_piece
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import ReadAfter, ReadFrom, Reading, ReadNoMore, ReadParts, TaskState
from operators.state import Prefix, StepState
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable, RecordUnsendable
from sage.flow.dealing import PartitionRead, PartitionsRead

TYPES = RecordTypes()


@dataclass(frozen=True)
class Point:
    x: int


def plain(state: TaskState) -> TaskState:
    """Return `state` with sequences as lists, and without steps that hold nothing, to be compared."""
    steps = {
        name: StepState(
            dict(step.keyed) if step.keyed is not None else None,
            list(step.grown),
            list(step.held),
            step.fixed,
            step.shared,
            step.panes,
            list(step.heard),
        )
        for name, step in state.steps.items()
    }
    return replace(
        state, steps={name: step for name, step in steps.items() if step != StepState(None, [], [], heard=[])}
    )


def kept(states: Sequence[TaskState]) -> list[bytes]:
    """Return the pieces from which the last state comes."""
    encoder, pieces = PieceEncoder(), list[bytes]()
    for state in states:
        piece, is_whole = encoder.encode(frozen(state, TYPES, is_whole=encoder.is_due()))
        pieces = [piece] if is_whole else [*pieces, piece]
    return pieces


PARTS = ReadParts(PartitionsRead((PartitionRead("a", ("a", 1), 2.5), PartitionRead("b")), ("c", "d")))
READINGS = [None, ReadNoMore(), ReadAfter(0), ReadAfter(7), ReadFrom(0), ReadFrom(("a", 1)), PARTS]


@pytest.mark.parametrize("reading", READINGS)
def test_a_state_comes_out_as_it_went_in(reading: Reading | None) -> None:
    state = TaskState(
        steps={
            "sum": StepState(keyed={("a", 1): 2.5, "b": 10**30, 0: None}),
            "list": StepState(keyed={"a": [1, 2], "b": []}),
            "call": StepState(held=[({"n": 1}, 3.5, None, "pending", None)]),
            "collect": StepState(grown=[{"n": 1}, "x"]),
            "rules": StepState(keyed={1: 2}, shared={("rules", key): [key] for key in range(6_000)}),
            "file": StepState(fixed=(".out.partial", 17)),
        },
        reading=reading,
        waiting=(Batch([1, 2], ["a", "b"]),),
        watermark_s=4.5,
        has_ended=True,
        counts=(1, 2, 3),
        num_letters=4,
    )
    (piece,) = kept([state])
    assert plain(state_from_pieces([piece], TYPES)) == plain(state)
    assert steps_in_piece(piece) == {"sum", "list", "call", "collect", "rules", "file"}


@given(st.integers(), st.integers(1, 30))
def test_any_course_of_a_state_comes_out_at_its_end(seed: int, num_states: int) -> None:
    rng = Random(seed)
    values: dict[Any, Any] = {}
    grown: list[int] = []
    encoder, pieces = PieceEncoder(), list[bytes]()
    for _ in range(num_states):
        for _ in range(rng.randint(0, 5)):
            key, what = rng.randrange(8), rng.random()
            if what < 0.2:
                values.pop(key, None)
            elif what < 0.4 and isinstance(values.get(key), list):
                values[key].append(rng.random())
            else:
                values[key] = [1] if rng.random() < 0.1 else rng.random()
        grown.extend(range(rng.randint(0, 3)))
        state = TaskState(
            steps={"sum": StepState(keyed=values.copy()), "collect": StepState(grown=Prefix(grown, len(grown)))}
        )
        piece, is_whole = encoder.encode(frozen(state, TYPES, is_whole=encoder.is_due()))
        pieces = [piece] if is_whole else [*pieces, piece]
        assert plain(state_from_pieces(pieces, TYPES)) == plain(state)


def test_what_has_not_changed_is_not_written_again() -> None:
    values: dict[Hashable, str] = {number: f"value {number}" for number in range(10_000)}
    first = TaskState(steps={"sum": StepState(keyed=values.copy())})
    values[7] = "other"
    whole, change = kept([first, TaskState(steps={"sum": StepState(keyed=values.copy())})])
    assert len(change) < len(whole) / 100
    assert state_from_pieces([whole, change], TYPES).steps["sum"].keyed == values


def test_all_is_written_anew_once_the_changes_are_longer_or_too_many() -> None:
    states = [TaskState(steps={"sum": StepState(keyed={0: number})}) for number in range(3 * MAX_PIECES)]
    assert len(kept(states)) <= MAX_PIECES
    long = [TaskState(steps={"sum": StepState(keyed=dict.fromkeys(range(20_000), f"{n}"))}) for n in range(12)]
    assert len(kept(long)) <= 4


def test_what_changes_while_it_is_written_is_written_as_it_was() -> None:
    held = [[1, 2]]
    values: dict[Hashable, list[int]] = {"a": [1]}
    state = frozen(TaskState(steps={"call": StepState(held=held), "list": StepState(keyed=values)}), TYPES)
    held[0].append(3)
    values["a"].append(2)
    piece, _ = PieceEncoder().encode(state)
    steps = state_from_pieces([piece], TYPES).steps
    assert (steps["call"].held, steps["list"].keyed) == ([[1, 2]], {"a": [1]})


def test_what_was_not_kept_is_written_again() -> None:
    encoder = PieceEncoder()
    first = TaskState(steps={"sum": StepState(keyed={"a": 1})})
    encoder.encode(frozen(first, TYPES))
    encoder.forget()
    piece, is_whole = encoder.encode(
        frozen(TaskState(steps={"sum": StepState(keyed={"a": 1, "b": 2})}), TYPES, is_whole=encoder.is_due())
    )
    assert is_whole
    assert state_from_pieces([piece], TYPES).steps["sum"].keyed == {"a": 1, "b": 2}


def test_values_that_begin_to_change_in_place_cost_one_checkpoint_and_none_of_what_is_held() -> None:
    encoder = PieceEncoder()
    values: dict[Hashable, Any] = {"a": 1, "b": 2}

    def encoded() -> tuple[bytes, bool]:
        state = TaskState(steps={"sum": StepState(keyed=values.copy())})
        return encoder.encode(frozen(state, TYPES, is_whole=encoder.is_due(), plain=encoder.plain()))

    encoded()
    values["a"] = 3
    assert not encoded()[1]
    values["b"] = [4]
    with pytest.raises(CheckpointUnusable, match="step 'sum' can change in place"):
        encoded()
    encoder.forget()
    piece, is_whole = encoded()
    assert is_whole
    assert state_from_pieces([piece], TYPES).steps["sum"].keyed == values
    values["b"].append(5)
    assert not encoded()[1]


def test_a_state_that_cannot_be_saved_is_refused_by_step_and_type() -> None:
    for state in (StepState(keyed={"a": Point(1)}), StepState(held=[Point(1)]), StepState(fixed=Point(1))):
        with pytest.raises(RecordUnsendable, match=r"state of step 'fold'.*Point"):
            frozen(TaskState(steps={"fold": state}), TYPES)
    types = RecordTypes({"Point": Point})
    piece, _ = PieceEncoder().encode(frozen(TaskState(steps={"fold": StepState(keyed={"a": Point(1)})}), types))
    assert state_from_pieces([piece], types).steps["fold"].keyed == {"a": Point(1)}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_piece_are_refused(content: bytes) -> None:
    with pytest.raises(CheckpointUnusable):
        state_from_pieces([content], TYPES)
