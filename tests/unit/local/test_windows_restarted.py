"""Windows of whole flows against the oracle: disorder, late records, many instances and lost runs, all at once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from sage.flow.windows import CountWindow, Shape
from sage.testing import Pause, Scripted, rehearse
from tests.unit.operators.window_oracle import Event, Given, Oracle

SHAPES: list[Shape] = [
    sage.Tumbling(10),
    sage.Sliding(10, 5),
    sage.Sliding(7.5, 5),
    sage.Session(5),
    sage.CountWindow(3),
]


class Then(Enum):
    """What happens after a batch: nothing, a checkpoint, the loss of all since the last one, or both."""

    NOTHING = auto()
    KEPT = auto()
    LOST = auto()
    KEPT_AND_LOST = auto()


EVENT = st.tuples(st.integers(0, 4), st.integers(0, 400))
BATCHES = st.lists(st.tuples(st.lists(EVENT, max_size=8), st.sampled_from(Then)), max_size=12)
Drawn = list[tuple[list[tuple[int, int]], Then]]


def events_of(drawn: Drawn) -> list[list[Event]]:
    """Return a batch of events each; the number of an event is its place among all."""
    batches: list[list[Event]] = []
    num = 0
    for batch, _ in drawn:
        batches.append([Event(key, eighths / 8, number) for number, (key, eighths) in enumerate(batch, num)])
        num += len(batch)
    return batches


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@settings(max_examples=16, deadline=None)
@given(
    drawn=BATCHES,
    max_out_of_order_s=st.sampled_from([0.0, 1.0, 10.0]),
    allow_late_s=st.sampled_from([0.0, 2.0, 7.5, 1000.0]),
    num_before=st.integers(1, 4),
    num_instances=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_windows_give_what_the_oracle_gives_however_often_a_run_is_lost(
    shape: Shape,
    drawn: Drawn,
    max_out_of_order_s: float,
    allow_late_s: float,
    num_before: int,
    num_instances: int,
    seed: int,
) -> None:
    is_counted = isinstance(shape, CountWindow)
    batches = events_of(drawn)
    flow = sage.Flow("windows")
    script = Scripted(*(part for batch in batches for part in ([batch], Pause(1))))  # however much is read at once
    read = flow.from_source(script).flat_map(lambda batch: batch)
    read = read.assign_timestamps(lambda event: event.time_s, max_out_of_order_s=max_out_of_order_s)
    read = read.map(lambda event: event).with_parallelism(1 if is_counted else num_before)  # which count by their order
    windowed = read.key_by(lambda event: event.key).window(shape)
    if not is_counted:
        windowed = windowed.allow_late(allow_late_s).late_to("late")
    results = windowed.collect().with_parallelism(num_instances)
    found, late = results.collect(), None if is_counted else results.side("late").collect()
    with rehearse(flow, seed=seed, checkpoints=True, batch_records=8) as run:
        for _, then in drawn:
            run.advance(1)
            if then in (Then.KEPT, Then.KEPT_AND_LOST):
                run.checkpoint()
            if then in (Then.LOST, Then.KEPT_AND_LOST):
                run.crash()
        run.finish()
    oracle = Oracle(shape, allow_late_s)
    assert told(found.items) == Counter(given_by(oracle, batches, max_out_of_order_s))
    assert late is None or len(late.items) == oracle.num_late


def given_by(oracle: Oracle, batches: list[list[Event]], max_out_of_order_s: float) -> Iterator[Given]:
    latest_s = -inf
    for batch in batches:
        latest_s = max([latest_s, *(event.time_s for event in batch)])
        yield from oracle.batch(batch, latest_s - max_out_of_order_s)
    yield from oracle.batch([], inf)


def told(results: Sequence[sage.WindowResult[int, list[Event]]]) -> Counter[Given]:
    return Counter(Given(r.key, r.start, r.end, tuple(sorted(event.number for event in r.value))) for r in results)
