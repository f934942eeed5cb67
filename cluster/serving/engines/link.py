"""The near end of an engine host: what the plane's shell sends to and reads from. Knows no transport."""

from typing import Protocol

import msgspec

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.port import FromHost, ToHost
from sage.base.ids import EngineId
from sage.base.inference import Failure


class HostLost(msgspec.Struct, frozen=True, tag="host_lost", forbid_unknown_fields=True):
    """The host process ended, or broke the protocol; nothing more comes from it."""

    failure: Failure


class EngineLink(Protocol):
    """A host process and the way to it. Used by one thread at a time; no method waits, except `close`."""

    engine_id: EngineId
    models: tuple[str, ...]
    is_asked: bool  # whether `ask` is of any use: others watch over hosts that are elsewhere

    def fds(self) -> tuple[int, ...]:
        """Return file descriptors that become readable when `drain` may have something.

        Edge-triggered as ZeroMQ's are: after one fired, and after every `send`, call `drain` until it is empty.
        """
        ...

    def send(self, message: ToHost) -> bool:
        """Hand `message` to the transport; False where its bound is reached or the host is lost."""
        ...

    def drain(self) -> list[FromHost | HostLost]:
        """Return everything that has come, in order, without waiting.

        A StartFailed or a HostLost is the last thing ever returned; stop watching `fds` then, and `close`.
        """
        ...

    def ask(self) -> None:
        """Ask whether the host still works; called every ASK_EVERY_S. One that hangs is ended: HostLost comes of it."""
        ...

    def log(self, mark: LogMark | None) -> EngineLog:
        """Return what the host wrote after `mark`, or the newest; raises InvalidRequest where that cannot be read."""
        ...

    def close(self, timeout_s: float) -> None:
        """End the host: asked, then terminated, then killed; returns when the process is reaped."""
        ...
