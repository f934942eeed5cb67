"""Which steps may go on with what a step of their name held."""

from collections.abc import Callable
from typing import Any

import pytest

import sage
from sage.flow.flow import Flow
from sage.flow.state_form import form_of_step, misfit, undeclared
from sage.flow.state_form_value import StateForm

Keyed = sage.KeyedStream[str, float]


class Counting(sage.KeyedProcess[str, float, float]):
    num = sage.ValueState(0)
    seen = sage.ListState[float]()

    def on_record(self, record: float, context: sage.ProcessContext[str]) -> None:
        """Keep nothing."""


class Renamed(Counting):
    num = None  # type: ignore[assignment]  # it hides the state
    total = sage.ValueState(0)


class OtherKind(Counting):
    num = sage.ListState[int]()  # type: ignore[assignment]  # on purpose


class Longer(Counting):
    also = sage.MapState[str, int]()

    def on_record(self, record: float, context: sage.ProcessContext[str]) -> None:
        """Do something else."""


async def awaited(number: float) -> float:
    return number


def form_of(make: Callable[[Keyed], Any]) -> StateForm | None:
    flow = Flow("f")
    keyed = flow.from_collection([1.0], timestamp=float).key_by(str)
    make(keyed).named("w").for_each(print)
    return form_of_step(next(step for step in flow.graph().steps if step.name == "w"))


def window(shape: Any) -> Callable[[Keyed], Any]:
    return lambda keyed: keyed.window(shape).count()


MISFITS: list[tuple[Callable[[Keyed], Any], Callable[[Keyed], Any]]] = [
    (window(sage.Tumbling(20)), window(sage.Tumbling(10))),
    (window(sage.Tumbling(20)), window(sage.Tumbling(40))),
    (window(sage.Tumbling(20)), window(sage.Sliding(20, 10))),
    (window(sage.Tumbling(20)), window(sage.Session(20))),
    (window(sage.Session(20)), window(sage.Session(21))),
    (window(sage.Tumbling(20)), window(sage.CountWindow(20))),
    (window(sage.CountWindow(2)), window(sage.CountWindow(3))),
    (lambda s: s.window(sage.Tumbling(20)).sum(), lambda s: s.window(sage.Tumbling(20)).max()),
    (lambda s: s.window(sage.Tumbling(20)).count(), lambda s: s.window(sage.Tumbling(20)).collect()),
    (lambda s: s.window(sage.Sliding(20, 10)).fold(0, max), lambda s: s.window(sage.Sliding(20, 10)).reduce(max)),
    (lambda s: s.count(), window(sage.Tumbling(20))),
    (lambda s: s.count(), lambda s: s.sum()),
    (lambda s: s.count(), lambda s: s.process(Counting)),
    (lambda s: s.count(), lambda s: s.map(str)),
    (lambda s: s.map_async(awaited), lambda s: s.map(str)),
    (lambda s: s.map_batches(list, max_records=3, max_wait_s=1.0), lambda s: s.map_batches(list)),
    (lambda s: s.process(Counting), lambda s: s.process(OtherKind)),
]

FITS: list[tuple[Callable[[Keyed], Any], Callable[[Keyed], Any]]] = [
    (window(sage.Tumbling(20)), window(sage.Sliding(20.0, 20.0))),
    (window(sage.Tumbling(20)), lambda s: s.window(sage.Tumbling(20)).allow_late(5).count()),
    (window(sage.Tumbling(20)), lambda s: s.window(sage.Tumbling(20)).trigger(every_records=2).count()),
    (window(sage.Tumbling(20)), lambda s: s.window(sage.Tumbling(20)).count().with_parallelism(3)),
    (lambda s: s.count(), lambda s: s.count(final=True)),
    (lambda s: s.sum(), lambda s: s.sum(lambda number: -number)),
    (lambda s: s.reduce(max), lambda s: s.reduce(min)),
    (lambda s: s.fold(0, max), lambda s: s.fold(1, min)),
    (lambda s: s.process(Counting), lambda s: s.process(Longer)),
    (lambda s: s.map_async(awaited), lambda s: s.generate(model="m", prompt="{}", max_in_flight=3)),
    (lambda s: s.map(float), lambda s: s.key_by(str).count()),
]


@pytest.mark.parametrize("number", range(len(MISFITS)))
def test_what_another_step_of_the_name_held_is_not_taken_for_its_own(number: int) -> None:
    before, now = map(form_of, MISFITS[number])
    assert misfit(before, now) is not None


@pytest.mark.parametrize("number", range(len(FITS)))
def test_what_may_change_safely_is_not_refused(number: int) -> None:
    before, now = map(form_of, FITS[number])
    assert (misfit(before, now), undeclared(before, now)) == (None, [])


def test_it_is_said_what_was_held_and_what_is_now() -> None:
    before, now = form_of(window(sage.Tumbling(20))), form_of(window(sage.Sliding(20, 2.5)))
    assert misfit(before, now) == (
        "held the state of a count by windows of 20 s, and is now a count by windows of 20 s every 2.5 s"
    )
    process, other = form_of(lambda s: s.process(Counting)), form_of(lambda s: s.process(OtherKind))
    assert misfit(process, other) == "held 'num' as a ValueState, and it is now a ListState"


def test_a_state_that_a_process_declares_no_more_is_found_by_name() -> None:
    before, now = form_of(lambda s: s.process(Counting)), form_of(lambda s: s.process(Renamed))
    assert (misfit(before, now), undeclared(before, now)) == (None, ["num"])


def test_windows_that_share_records_keep_something_else_where_parts_can_be_joined() -> None:
    def aggregate(shape: Any, merge: Any) -> StateForm | None:
        return form_of(lambda s: s.window(shape).aggregate(list, max, merge=merge))

    for shape, fits in ((sage.Sliding(20, 10), False), (sage.Session(5), False), (sage.Tumbling(20), True)):
        assert (misfit(aggregate(shape, None), aggregate(shape, max)) is None) is fits
