"""The process of an engine host: what its owner needs of it, wherever it runs, and the one that is a child of this.

Knows nothing of the socket by which orders and replies go.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cluster.runtime.control_engine_log import MAX_PIECE_BYTES, EngineLog, LogMark
from cluster.runtime.host_process import HostProcess
from cluster.serving.engines.device_board import page_for_hosts
from cluster.serving.engines.host_watch import QUESTION, HostWatch
from sage.base.errors import InvalidRequest


class Host(Protocol):
    """The process of a host, wherever it is: its end is noticed, and it can be ended. HostProcess says what each does.

    `alive_fd` becomes readable when the process has ended, or has something to say. A host whose connection is gone is
    gone itself within `dying_s`, or has broken the protocol.
    """

    alive_fd: int
    dying_s: float

    @property
    def is_out_of_reach(self) -> bool:
        """Say whether it was lost with where it ran, or the way there is: no fault of its own."""
        ...

    def has_ended(self) -> bool: ...

    def wait(self, timeout_s: float) -> bool: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def reap(self) -> str: ...

    def log_tail(self) -> str: ...

    def close(self) -> None: ...

    def log(self, mark: LogMark | None) -> EngineLog:
        """Return what it wrote after `mark`, or the newest; raises InvalidRequest where that cannot be read."""
        ...

    def ask(self) -> str | None:
        """Ask whether it still works, every ASK_EVERY_S; return why it counts as hung, if it does. Never waits."""
        ...

    def hear(self) -> None:
        """Take what it has said."""
        ...

    def serves(self) -> None:
        """Know that its engine has loaded."""
        ...


class ChildHost(HostProcess):
    """A host that is a child of this process."""

    dying_s = 0.5
    is_out_of_reach = False

    def __init__(
        self,
        directory: Path,
        arguments: list[str],
        *,
        max_iteration_s: float = 10.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._page = page_for_hosts()
        fds = () if self._page is None else (self._page.fd,)
        super().__init__(
            directory,
            [*arguments, *(f"--page-fd={fd}" for fd in fds)],
            environment=environment,
            shared_fds=fds,
        )
        self._watch = HostWatch(max_iteration_s)
        self._is_aborted = False

    def close(self) -> None:
        super().close()
        self._page = None

    def log(self, mark: LogMark | None) -> EngineLog:
        at_byte = None if mark is None else mark.at_byte if mark.start == self.pid else 0
        try:
            data, next_byte = self.log_piece(at_byte, MAX_PIECE_BYTES)
        except OSError as error:
            raise InvalidRequest(f"the log of the engine cannot be read: {error}") from error
        return EngineLog(0, data, LogMark(self.pid, next_byte))

    def ask(self) -> str | None:
        self.bound_log()
        why = self._watch.asked()
        if why is None:
            self.say(QUESTION)
        elif self._is_aborted:
            self.kill()  # it is stopped, or holds on to its life
        else:
            self._is_aborted = True
            self.abort()
        return why

    def hear(self) -> None:
        self._watch.heard(self.heard())

    def serves(self) -> None:
        self._watch.serves()
