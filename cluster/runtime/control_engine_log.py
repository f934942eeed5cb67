"""What clients, head and nodes say to each other about the logs of engines. Knows no socket and no actor.

A log is read piece by piece: a mark says where the next piece begins, in which start of the engine's host.
"""

import msgspec

from cluster.runtime.control_message import ControlMessage, RemoteFailure
from sage.base.ids import EngineId

MAX_PIECE_BYTES = 64 * 1024
"""Of a log that travel at once; who begins without a mark gets the last ones."""


class LogMark(msgspec.Struct, frozen=True):
    """`start`: of the engine's host, as in StartEngineHost; another one's log begins anew. `at_byte`: of its file."""

    start: int
    at_byte: int


class GetEngineLog(ControlMessage, frozen=True):
    """Client to head; answered by EngineLog: what follows `mark`, or the newest where there is none."""

    question: int
    engine_id: EngineId
    mark: LogMark | None = None


class EngineLog(ControlMessage, frozen=True):
    """Head to client. `data`: of MAX_PIECE_BYTES at most, b"" where there is nothing new; `mark`: to ask on with."""

    question: int
    data: bytes
    mark: LogMark


class ReadHostLog(ControlMessage, frozen=True):
    """Head to node; answered by HostLogRead with the same number. `at_byte` None: the newest piece."""

    number: int
    start: int
    at_byte: int | None


class HostLogRead(ControlMessage, frozen=True):
    """Node to head. `next_byte`: where the next piece begins. Where there is a `failure`, that counts."""

    number: int
    start: int
    data: bytes
    next_byte: int
    failure: RemoteFailure | None = None
