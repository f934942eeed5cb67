"""What leaves a step beside its main stream: by tag, with its time, and followed by the watermark."""

from operators.machine import Emit
from sage.base.batch import Batch
from sage.flow.graph import OnError
from sage.flow.spec import Aggregate, AssignTimestamps, KeyBy, Map, Split, Window
from sage.flow.windows import Session, Tumbling
from tests.unit.operators.arrange import dead_of, machine, step, values_of

SPLIT = Split(("even", "three"), (lambda n: n % 2 == 0, lambda n: n % 3 == 0))


def test_the_first_predicate_that_holds_wins_and_the_rest_stays() -> None:
    driven = machine(Map(abs), step(SPLIT, "parts"), Map(lambda n: -n))
    assert driven.on_batch(Batch([1, 2, 3, 6])) == [
        Emit(Batch([2, 6]), ("parts", "even")),
        Emit(Batch([3]), ("parts", "three")),
        Emit(Batch([-1])),
    ]


def test_sides_have_the_time_of_their_records_and_the_watermark() -> None:
    driven = machine(AssignTimestamps(float), step(SPLIT, "parts"))
    assert driven.on_batch(Batch([1, 2])) == [
        Emit(Batch([2], None, [2.0], 2.0), ("parts", "even")),
        Emit(Batch([], None, None, 2.0), ("parts", "three")),
        Emit(Batch([1], None, [1.0], 2.0)),
    ]
    assert driven.on_end() == []


def test_a_predicate_that_raises_follows_the_policy_of_its_step() -> None:
    driven = machine(step(Split(("one",), (lambda n: 1 // n == 1,)), "parts", on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([0, 1, 2]))
    assert [letter.value for letter in dead_of(commands)] == [0]
    assert [command for command in commands if isinstance(command, Emit)] == [
        Emit(Batch([1]), ("parts", "one")),
        Emit(Batch([2])),
    ]


def test_late_records_leave_by_their_side_or_are_counted() -> None:
    for shape in (Tumbling(10), Session(1)):
        window = Window(shape, Aggregate("count"), 0.0, "late")
        driven = machine(AssignTimestamps(float), KeyBy(lambda time: "all"), step(window, "counts"))
        driven.on_batch(Batch([1, 25]))
        commands = driven.on_batch(Batch([3, 26]))
        assert commands[0] == Emit(Batch([3], None, [3.0], 26.0), ("counts", "late"))
        assert driven.counts.records_late == 0
        driven = machine(AssignTimestamps(float), KeyBy(lambda time: "all"), Window(shape, Aggregate("count")))
        driven.on_batch(Batch([1, 25]))
        assert all(result.value == 1 for result in values_of(driven.on_batch(Batch([3, 40]))))
        assert driven.counts.records_late == 1
