"""What a shell of the plane needs of the thread or loop on which it runs, and how it holds engines. Decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cluster.serving.engines.link import EngineLink
from cluster.serving.engines.port import EngineInfo


class Driver(Protocol):
    """The thread or loop on which a shell runs; called on it only."""

    def watch_fd(self, fd: int) -> None:
        """Call `on_link_readable(fd)` whenever `fd` is readable."""
        ...

    def unwatch_fd(self, fd: int) -> None: ...

    def wake_at(self, at_s: float) -> None:
        """Call `on_wake()` at this monotonic time; replaces an earlier order."""
        ...

    def start_again(self, held: "HeldLink", after_s: float) -> None:
        """Call `held.again` on another thread in `after_s` seconds; then `attach` with it, or `not_started`."""
        ...


Again = Callable[[], EngineLink]
"""Starts another host of an engine that was lost, under the same id; may wait, and raise SageError."""


@dataclass(slots=True)
class HeldLink:
    """A link to an engine host; `info` is None until the engine is ready. Without `again` it is not started anew."""

    link: EngineLink
    info: EngineInfo | None = None
    again: Again | None = None
