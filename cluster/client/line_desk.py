"""The head as the owner of a job turns to it. Knows no flow."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cluster.client.collecting import Unpack
from cluster.client.line import HeadLine
from cluster.local.job import SAVEPOINT_S
from cluster.runtime.control_clients import CancelFlow, DeadLetterList, Done, GetDeadLetters, SavepointFlow
from cluster.runtime.control_state import GetState, StateAnswer
from cluster.runtime.lookup import StateWanted
from cluster.runtime.packed import pack_records
from cluster.runtime.record_types import RecordTypes
from sage.base.errors import InternalError, SageError, UnknownState
from sage.base.ids import JobId
from sage.flow.runner import DeadLetterRecord


@dataclass(frozen=True, slots=True)
class LineDesk:
    """A JobDesk. `unpack`: for what steps of the job keep."""

    line: HeadLine
    unpack: Unpack

    def cancel(self, job_id: JobId) -> bool:
        self.line.ask(lambda number: CancelFlow(number, job_id), Done)
        return True

    def dead_letters(self, job_id: JobId) -> list[DeadLetterRecord]:
        return list(self.line.ask(lambda number: GetDeadLetters(number, job_id), DeadLetterList).letters)

    def state(self, job_id: JobId, wanted: StateWanted) -> Any:
        return _state_of(self.line, job_id, wanted, self.unpack)

    def savepoint(self, job_id: JobId, path: str) -> None:
        self.line.ask(lambda number: SavepointFlow(number, job_id, path), Done, timeout_s=SAVEPOINT_S)


def _state_of(line: HeadLine, job_id: JobId, wanted: StateWanted, unpack: Unpack) -> Any:
    """Ask for it, and wait as long as `wanted` says.

    Raises: UnknownJob, UnknownState, StateUnreachable, ClusterUnreachable; RecordUnsendable for a key of a class of the
    flow's own.
    """
    [key] = pack_records([wanted.key], RecordTypes(), where="the key of a state that is asked for")
    came: Future[object] = Future()
    line.call(
        lambda number: GetState(number, job_id, wanted.step, wanted.instance, key.packed),
        came.set_result,
    )
    try:
        answer = came.result(wanted.timeout_s)
    except TimeoutError:
        raise wanted.too_late() from None
    if isinstance(answer, SageError):
        raise answer
    if not isinstance(answer, StateAnswer):
        raise InternalError(f"the head answered by a {type(answer).__name__}")
    try:
        return unpack(answer.value)[0]
    except InternalError as error:
        what = f"what step {wanted.step!r} keeps is of classes of the flow's own: {answer.shown:.200}"
        raise UnknownState(what, "Ask from the program that submitted the flow.") from error
