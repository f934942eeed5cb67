"""Chat requests as the tasks of a flow meet them: a port. Knows neither who asks nor how answers travel."""

from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from sage.base.errors import InternalError, SageError
from sage.base.ids import RequestId
from sage.base.inference import Usage
from sage.base.turns import Reason, Turn, TurnRecord
from sage.flow.chat import ChatSource


class TurnReader(Protocol):
    """What reads chat requests; a `WokenReader` and a `SourceReader`."""

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Have `wake` called, on any thread, when a request came after a read that returned none."""
        ...

    def read(self, max_records: int) -> Sequence[TurnRecord]: ...

    def position(self) -> None: ...

    def close(self) -> None: ...


class ChatTurns(Protocol):
    """The chat requests of one job. Safe to call from the threads of all its tasks; nothing waits."""

    def reader(self, step: str, source: ChatSource) -> TurnReader:
        """Return what reads the requests that come for the step of this name."""
        ...

    def is_open(self, turn: Turn) -> bool:
        """Say whether anybody still waits for the answer, as far as is known here."""
        ...

    def left_s(self, turn: Turn) -> float | None:
        """Return how long the answer is of use from now on, as far as is known here; None: no deadline."""
        ...

    def asks(self, turn: Turn, request_id: RequestId) -> None:
        """Know a request to a model, to be withdrawn if the turn is; it is forgotten once it `answered`."""
        ...

    def answered(self, turn: Turn, request_id: RequestId, usage: Usage | None) -> None: ...

    def say(self, record: TurnRecord, speaker: str, text: str) -> None:
        """Send a piece of the answer; the speaker comes to an `end` for the same record."""
        ...

    def end(self, record: TurnRecord, speaker: str, reason: Reason) -> None:
        """Say that the record has become all of its part of the answer."""
        ...

    def leave(self, record: TurnRecord, num_ways: int) -> None:
        """Say that the record leads to no reply, by none of the ways there are from where it was left away."""
        ...

    def fail(self, turn: Turn, error: SageError) -> None:
        """End the whole turn."""
        ...


class NoTurns:
    """Where no chat request comes: every call is a fault of ours."""

    def __getattr__(self, name: str) -> NoReturn:
        raise InternalError(f"a task has to do with chat requests ({name}) where none come")
