"""What travels between tasks: batches, ends and credit on links. Pure; knows no transport."""

from dataclasses import dataclass

from cluster.runtime.lane import OnDataLane
from sage.base.batch import Batch
from sage.base.ids import TaskId


@dataclass(frozen=True, slots=True)
class Link:
    """One way from a task to a task. `channel` is its channel's number in the plan: two may join the same tasks."""

    channel: int
    source: TaskId
    target: TaskId


@dataclass(frozen=True, slots=True)
class Delivery(OnDataLane):
    """Records for the link's target; costs one credit."""

    link: Link
    batch: Batch


@dataclass(frozen=True, slots=True)
class End(OnDataLane):
    """Nothing more comes on this link; costs no credit."""

    link: Link


@dataclass(frozen=True, slots=True)
class Grant:
    """Credit for the link's source."""

    link: Link
    num_batches: int


TaskMessage = Delivery | End | Grant


def recipient_of(message: TaskMessage) -> TaskId:
    """Return the task that `message` is for."""
    return message.link.source if isinstance(message, Grant) else message.link.target
