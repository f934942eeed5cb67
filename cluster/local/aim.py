"""Ends an engine whose device has broken, whenever that is told: before its host is started too. Knows no device."""

from cluster.serving.engines.launch import HostLink
from sage.base.errors import SageError


class Aim:
    """One start of an engine; used by two threads, each of which sets its own before it looks at the other's."""

    def __init__(self) -> None:
        self._link: HostLink | None = None
        self._error: SageError | None = None

    def has_broken(self, error: SageError) -> None:
        """End the host now, or as soon as there is one."""
        self._error = error
        self._end()

    def at(self, link: HostLink) -> None:
        """This is the host."""
        self._link = link
        self._end()

    def _end(self) -> None:
        if self._link is not None and self._error is not None:
            self._link.end_for(self._error.what)
