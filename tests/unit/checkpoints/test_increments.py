"""For each kind of state: what checkpoints wrote, piece after piece, is all that is held, and no more than changed."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.pieces import FrozenState, PieceEncoder, frozen
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import TaskState
from operators.machine import Machine
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable
from sage.flow.broadcast_process import BroadcastContext, BroadcastProcess, BroadcastState
from sage.flow.process import KeyedProcess, ListState, MapState, ProcessContext, ReducingState, ValueState
from sage.flow.spec import Aggregate, AsOf, Combine, Fold, Gather, JoinWindows, Process, Reduce, Spec, Window, Within
from sage.flow.windows import CountWindow, Session, Sliding, Trigger, Tumbling
from tests.unit.operators.arrange import machine

TYPES = RecordTypes()
Record = tuple[int, int]
"""Its side, where streams are joined, and a number."""


class Keeping(KeyedProcess[Any, Record, Any]):
    """Has values that change in place, values that expire, and timers."""

    seen = ListState[int]()
    last = ValueState[int](0, ttl_s=6.0)

    def on_record(self, record: Record, context: ProcessContext[Any]) -> Iterable[Any]:
        self.seen.append(record[1])
        self.last = record[1]
        assert context.time_s is not None
        context.set_timer(context.time_s + 10.0)
        return ()

    def on_timer(self, time_s: float, context: ProcessContext[Any]) -> Iterable[Any]:
        del self.seen
        return ()


class Deep(KeyedProcess[Any, Record, Any]):
    """Changes lists within dicts in place, of each state that can hold them."""

    value = ValueState[dict[str, list[int]]]({})
    by_side = MapState[int, list[int]]()
    joined = ReducingState[list[int]](operator.iadd)

    def on_record(self, record: Record, context: ProcessContext[Any]) -> Iterable[Any]:
        self.value = self.value or {"all": []}
        self.value["all"].append(record[1])
        self.by_side.setdefault(record[0], []).append(record[1])
        self.joined = [record[1]]
        return ()


class Told(BroadcastProcess[Any, int, int, Any]):
    """Counts what comes to a key, and keeps for all what it is told: records of side 1."""

    num = ValueState(0)
    rules = BroadcastState[int, int]()

    def on_record(self, record: int, context: ProcessContext[Any]) -> Iterable[Any]:
        self.num += 1
        return ()

    def on_broadcast(self, record: int, context: BroadcastContext) -> None:
        self.rules[record % 3] = record


class ToldMore(Told):
    """Keeps lists that it changes in place."""

    lists = BroadcastState[int, list[int]]()

    def on_broadcast(self, record: int, context: BroadcastContext) -> None:
        self.lists.setdefault(record % 3, []).append(record)


def appended(numbers: list[int], record: Record) -> list[int]:
    numbers.append(record[1])
    return numbers


def added(one: Record, other: Record) -> Record:
    return 0, one[1] + other[1]


def nested(kept: dict[str, Any] | None, record: Record) -> dict[str, Any]:
    """Change a value in place at every depth."""
    kept = kept or {"all": [], "by side": {}}
    kept["all"].append(record[1])
    kept["by side"].setdefault(record[0], []).append(record[1])
    return kept


def gathered(one: Any, other: Any) -> Any:
    """Give a list that is changed in place from the third record on."""
    if not isinstance(one, list):
        return [one, other]
    one.append(other)
    return one


def second(record: Record) -> int:
    return record[1]


SUM, LISTS = Aggregate("sum", second), Combine(list, appended, lambda one, other: one + other)
KINDS: dict[str, Spec] = {
    "sum": SUM,
    "reduce": Reduce(added),
    "fold in place": Fold(list, appended),
    "fold in place, nested": Fold(lambda: None, nested),
    "tumbling": Window(Tumbling(10), SUM),
    "tumbling, late": Window(Tumbling(10), SUM, allow_late_s=20.0),
    "tumbling, early": Window(Tumbling(10), SUM, trigger=Trigger(every_records=3)),
    "sliding": Window(Sliding(10, 5), SUM),
    "sliding, in place": Window(Sliding(10, 5), LISTS),
    "tumbling, gathered": Window(Tumbling(10), Gather()),
    "sliding, gathered": Window(Sliding(10, 4), Gather()),
    "session": Window(Session(3), SUM),
    "session, gathered": Window(Session(3), Gather(), allow_late_s=5.0),
    "session, early": Window(Session(3), SUM, trigger=Trigger(every_records=3)),
    "count window": Window(CountWindow(3), SUM),
    "count window, gathered": Window(CountWindow(3), Gather()),
    "interval join": Within(5.0, 5.0),
    "table join": AsOf(is_outer=False),
    "window join": JoinWindows(Tumbling(10)),
    "process": Process(Keeping),
    "process, deep": Process(Deep),
    "process, told": Process(Told),
}
IN_PLACE: dict[str, Spec] = {  # of these nobody knows what has changed
    "reduce, in place": Reduce(gathered),
    "fold of nothing, in place": Fold(None, nested),
    "process, told lists": Process(ToldMore),
}
every_kind = pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS)

Drawn = list[tuple[int, int, float]]
"""Side, key, time."""


def batch_of(drawn: Drawn, watermark_s: float) -> Batch:
    rows = [(side, number) for number, (side, _, _) in enumerate(drawn)]
    return Batch(rows, [key for _, key, _ in drawn], [time_s for _, _, time_s in drawn], watermark_s)


class Saved:
    """A machine of which checkpoints are taken, and the pieces that they wrote."""

    def __init__(self, spec: Spec) -> None:
        self.machine = machine(spec)
        self.machine.open()
        self._encoder = PieceEncoder()
        self.pieces: list[bytes] = []

    def save(self) -> int:
        """Take a checkpoint; return how many bytes it wrote."""
        return self.write(self.take())

    def take(self) -> FrozenState:
        """Do what is done on the task's thread."""
        state = TaskState(self.machine.snapshot())
        return frozen(state, TYPES, is_whole=self._encoder.is_due(), plain=self._encoder.plain())

    def write(self, taken: FrozenState) -> int:
        """Do what is done elsewhere, at any time until the next is taken. Raises CheckpointUnusable."""
        try:
            piece, is_whole = self._encoder.encode(taken)
        except CheckpointUnusable:
            self._encoder.forget()
            raise
        self.pieces = [piece] if is_whole else [*self.pieces, piece]
        return len(piece)

    def state(self) -> State:
        return state_from_pieces(self.pieces, TYPES).steps


def comparable(state: State) -> dict[str, Any]:
    """Return what steps hold, in any order of keys; a pane in which nothing is may as well be missing."""
    return {name: _plain(step) for name, step in state.items()}


def _plain(step: StepState) -> tuple[Any, ...]:
    panes = {name: dict(values) for name, values in step.all_panes().items() if values}
    return panes, step.shared or {}, list(step.heard), list(step.grown), list(step.held), step.fixed


def anew(spec: Spec, batches: Sequence[Batch]) -> Machine:
    """Return a machine that was given all that, and of which nobody ever took a checkpoint."""
    driven = machine(spec)
    driven.open()
    for batch in batches:
        driven.on_batch(batch)
    return driven


DRAWN = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 60).map(float)), max_size=8), max_size=12
)


@every_kind
@settings(max_examples=40, deadline=None)
@given(drawn=DRAWN)
def test_pieces_hold_what_a_machine_holds_that_was_never_saved(spec: Spec, drawn: list[Drawn]) -> None:
    saved, batches, latest_s = Saved(spec), list[Batch](), 0.0
    for each in drawn:
        latest_s = max([latest_s, *(time_s for _, _, time_s in each)])
        batches.append(batch_of(each, latest_s - 8.0))
        saved.machine.on_batch(batches[-1])
        saved.save()
        whole = frozen(TaskState(anew(spec, batches).snapshot()), TYPES)
        expected = state_from_pieces([PieceEncoder().encode(whole)[0]], TYPES).steps
        assert comparable(saved.state()) == comparable(expected)


@pytest.mark.parametrize("spec", (KINDS | IN_PLACE).values(), ids=KINDS | IN_PLACE)
@settings(max_examples=40, deadline=None)
@given(drawn=DRAWN)
def test_what_comes_after_a_checkpoint_was_taken_is_not_in_it(spec: Spec, drawn: list[Drawn]) -> None:
    """Users change values in place, at any depth, while what was taken is being written: it says what was.

    Where plain values give way to such as can change, one checkpoint is refused instead.
    """
    saved, batches, latest_s, num_refused = Saved(spec), list[Batch](), 0.0, 0
    for each in drawn:
        latest_s = max([latest_s, *(time_s for _, _, time_s in each)])
        whole = frozen(TaskState(anew(spec, batches).snapshot()), TYPES)
        expected = state_from_pieces([PieceEncoder().encode(whole)[0]], TYPES).steps
        taken = saved.take()
        batches.append(batch_of(each, latest_s - 8.0))
        saved.machine.on_batch(batches[-1])
        try:
            saved.write(taken)
        except CheckpointUnusable:
            num_refused += 1
        else:
            assert comparable(saved.state()) == comparable(expected)
    assert num_refused <= (spec is IN_PLACE["reduce, in place"])


@every_kind
def test_a_checkpoint_writes_as_much_as_has_changed(spec: Spec) -> None:
    """Of 4,000 keys, 20 change: what is written is in proportion, and not at all what is held."""
    saved = Saved(spec)
    saved.machine.on_batch(batch_of([(key % 2, key, 1.0) for key in range(4_000)], 0.5))
    whole = saved.save()
    for _ in range(3):
        saved.machine.on_batch(batch_of([(key % 2, key, 1.5) for key in range(100, 120)], 0.6))
        changed = saved.save()
        assert changed < whole / 50
    assert saved.save() < changed / 2, "nothing has changed"
    assert len(saved.pieces) == 5


@every_kind
def test_what_is_over_is_gone_from_later_pieces(spec: Spec) -> None:
    saved = Saved(spec)
    first, second = batch_of([(0, 1, 1.0), (1, 2, 2.0)], 0.0), batch_of([(0, 3, 500.0), (1, 3, 501.0)], 490.0)
    for batch in (first, second):
        saved.machine.on_batch(batch)
        saved.save()
    kept = comparable(replaced(anew(spec, [first, second]).snapshot()))
    assert comparable(saved.state()) == kept


def replaced(state: State) -> State:
    """Return a state as it is read again."""
    return state_from_pieces([PieceEncoder().encode(frozen(TaskState(state), TYPES))[0]], TYPES).steps


@every_kind
def test_what_pieces_say_goes_on_as_the_machine_itself_does(spec: Spec) -> None:
    saved, again = Saved(spec), machine(spec)
    for at in range(6):
        drawn = [(key % 2, key % 7, 4.0 * at + key % 5) for key in range(at, 3 * at + 9)]
        saved.machine.on_batch(batch_of(drawn, 4.0 * at - 3.0))
        saved.save()
    again.restore(saved.state())
    again.on_batch(Batch((), watermark_s=17.0))  # as a task does it
    last = batch_of([(key % 2, key, 24.0 + key) for key in range(7)], 22.0)
    assert _told(saved.machine, last) == _told(again, last)


def _told(driven: Machine, batch: Batch) -> list[str]:
    commands = [*driven.on_batch(batch), *driven.on_end()]
    return sorted(repr(value) for command in commands for value in getattr(command, "batch", batch).values)


def test_a_piece_that_counts_on_one_that_was_lost_is_refused() -> None:
    saved = Saved(KINDS["session"])
    saved.machine.on_batch(batch_of([(0, 1, 1.0)], 0.0))
    saved.save()
    encoder = PieceEncoder()
    change = frozen(TaskState(saved.machine.snapshot()), TYPES, is_whole=False)
    with pytest.raises(CheckpointUnusable, match="was not kept"):
        encoder.encode(change)
    final = replace(change, state=replace(change.state, is_final=True), left=())
    assert encoder.encode(final)[1], "what has said all needs its keys no more"
