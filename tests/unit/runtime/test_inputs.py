"""What waits for a task: batches in order, ends once, credit when it is due."""

import pytest

from cluster.runtime.inputs import Inputs, InputSpec
from cluster.runtime.links import Delivery, End, Grant, Link
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
