"""What waits for a task: batches in order, ends once, credit when it is due."""

from math import inf

import pytest

from cluster.runtime.inputs import Inputs, InputSpec
from cluster.runtime.links import Barrier, Delivery, End, Grant, Link
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.ids import TaskId

DATA = Link(0, TaskId("a/0"), TaskId("b/0"))
OTHER = Link(0, TaskId("a/1"), TaskId("b/0"))
DONE = Link(1, TaskId("c/0"), TaskId("b/0"))


def test_credit_is_given_back_when_half_of_it_is_taken() -> None:
    inputs = Inputs([InputSpec(DATA)], num_batches=4)
    for number in range(4):
        inputs.add(Delivery(DATA, Batch([number])))
    taken = [inputs.take() for _ in range(4)]
    assert [list(batch.values) for batch, _ in taken] == [[0], [1], [2], [3]]
    assert [grant for _, grant in taken] == [None, Grant(DATA, 2), None, Grant(DATA, 2)]


def test_input_is_over_when_every_link_has_ended_and_everything_is_taken() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(OTHER)], num_batches=1)
    inputs.add(Delivery(DATA, Batch([1])))
    inputs.end(End(DATA))
    inputs.end(End(OTHER))
    assert not inputs.is_over()
    inputs.take()
    assert inputs.is_over()


def test_nothing_is_taken_before_every_completion_has_come() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(DONE, is_completion=True)], num_batches=1)
    inputs.add(Delivery(DATA, Batch([1])))
    assert inputs.is_awaiting()
    assert not inputs.has_batch()
    inputs.end(End(DONE))
    assert inputs.has_batch()


def test_what_cannot_come_is_an_error_of_ours() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(DONE, is_completion=True)], num_batches=1)
    inputs.end(End(DATA))
    with pytest.raises(InternalError, match="end came twice"):
        inputs.end(End(DATA))
    with pytest.raises(InternalError, match="carries none"):
        inputs.add(Delivery(DONE, Batch([1])))
    with pytest.raises(InternalError, match="carries none"):
        inputs.add(Delivery(DATA, Batch([1])))


def values_of(inputs: Inputs) -> list[int]:
    values: list[int] = []
    while inputs.has_batch():
        values.extend(inputs.take()[0].values)
    return values


def test_what_comes_behind_a_barrier_waits_until_the_other_links_have_theirs() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(OTHER)], num_batches=4)
    inputs.add(Delivery(DATA, Batch([1])))
    inputs.bar(Barrier(DATA, 5))
    inputs.add(Delivery(DATA, Batch([2])))
    inputs.add(Delivery(OTHER, Batch([3])))
    assert inputs.aligned() is None
    assert values_of(inputs) == [1, 3]
    assert inputs.aligned() is None
    inputs.bar(Barrier(OTHER, 5))
    assert inputs.aligned() == 5
    inputs.release()
    assert inputs.aligned() is None
    assert values_of(inputs) == [2]


def test_a_link_that_has_ended_holds_up_no_checkpoint() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(OTHER)], num_batches=4)
    inputs.add(Delivery(OTHER, Batch([1])))
    inputs.end(End(OTHER))
    inputs.bar(Barrier(DATA, 5))
    inputs.end(End(DATA))
    assert inputs.aligned() is None
    assert values_of(inputs) == [1]
    assert (inputs.aligned(), inputs.is_over()) == (5, False)
    inputs.release()
    assert inputs.is_over()


def test_what_waits_for_a_completion_is_part_of_the_checkpoint_and_comes_first_where_it_is_restored() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(DONE, is_completion=True)], num_batches=4)
    inputs.add(Delivery(DATA, Batch([1])))
    inputs.bar(Barrier(DATA, 5))
    inputs.add(Delivery(DATA, Batch([2])))
    assert inputs.aligned() == 5
    assert inputs.waiting() == (Batch([1]),)
    inputs.release()
    restored = Inputs([InputSpec(DATA)], num_batches=4)
    restored.restore((Batch([1]),), -inf)
    restored.add(Delivery(DATA, Batch([2])))
    assert values_of(restored) == [1, 2]


def test_a_checkpoint_that_was_given_up_holds_up_nothing_but_its_barriers_are_awaited() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(OTHER)], num_batches=4)
    inputs.bar(Barrier(DATA, 5))
    inputs.add(Delivery(DATA, Batch([1])))
    inputs.drop()
    inputs.add(Delivery(DATA, Batch([2])))
    assert values_of(inputs) == [1, 2]
    assert inputs.aligned() is None
    inputs.bar(Barrier(OTHER, 5))
    assert inputs.aligned() == 5
    inputs.release()
    inputs.bar(Barrier(DATA, 6))
    inputs.add(Delivery(DATA, Batch([3])))
    assert values_of(inputs) == []


def test_a_barrier_that_cannot_come_is_an_error_of_ours() -> None:
    inputs = Inputs([InputSpec(DATA), InputSpec(OTHER)], num_batches=4)
    inputs.bar(Barrier(DATA, 5))
    with pytest.raises(InternalError, match="barrier came twice"):
        inputs.bar(Barrier(DATA, 5))
    with pytest.raises(InternalError, match="while 5 is on its way"):
        inputs.bar(Barrier(OTHER, 6))
