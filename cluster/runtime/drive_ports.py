"""What a drive is lent: a workshop that makes machines and sources, and hands that do what it decides. Only ports."""

from collections.abc import Sequence
from typing import Protocol

from cluster.runtime.links import TaskMessage
from cluster.runtime.messages import TaskFact, TaskSpec
from cluster.runtime.source import ReaderWorkshop
from operators.machine import Call, DeadLetter, Machine
from operators.tables import Tables
from sage.base.ids import RequestId
from sage.base.inference import Request
from sage.flow.runner import DeadLetterRecord


class Workshop(ReaderWorkshop, Protocol):
    """Makes what a task works with. Called on the task's thread."""

    def machine(self, spec: TaskSpec, tables: Tables | None = None) -> Machine:
        """`tables`: where its steps keep the state of keys; None: in memory."""
        ...


class Hands(Protocol):
    """What a drive asks to be done; none of it waits."""

    def send(self, message: TaskMessage) -> object: ...

    def ask(self, requests: Sequence[Request]) -> None: ...

    def withdraw(self, request_ids: Sequence[RequestId]) -> None: ...

    def call(self, calls: Sequence[Call]) -> None: ...

    def free(self, num_permits: int) -> None:
        """Let other calls have the permits of calls that failed and are not made again."""
        ...

    def set_timer(self, timer_id: int, after_s: float) -> None: ...

    def report(self, fact: TaskFact) -> None: ...

    def keep_letter(self, record: DeadLetterRecord, letter: DeadLetter) -> None:
        """Keep a record that was set aside, so that its step can be run on it again."""
        ...

    def wake(self) -> None:
        """Have `step` called soon; on any thread."""
        ...
