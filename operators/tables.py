"""Tables of rows beyond memory, as ports: what keyed steps lay their state down in. Knows neither files nor cache."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Stored = Sequence[tuple[str, int]]
"""Tables that were laid down: where each is, and how many instances the step had then."""

DueRow = tuple[bytes, Hashable, str | None]
"""What is due: its place in the order of times, the key, and the value that expires; None: a timer."""


@dataclass(frozen=True, slots=True)
class LaidDown:
    """A table as it was at one moment: it is at `stored` once `settle` was called, on any thread."""

    stored: Stored
    settle: Callable[[], None]


PlacedRow = tuple[bytes, Hashable, Any]
"""A row with its key, and its place in the order of rows: by key group, and then by key."""


class KeyedRows(Protocol):
    """Rows by their keys. Used by one thread."""

    def get(self, key: Hashable, default: Any) -> Any:
        """Return the row of a key. Raises RecordFailed for what cannot be a key, and CheckpointUnusable."""
        ...

    def write(self, rows: Iterable[tuple[Hashable, Any]], gone: Collection[Hashable]) -> int:
        """Put rows in, and forget the rows of keys that are gone; return how many bytes the rows are."""
        ...

    def after(self, place: bytes) -> Iterator[PlacedRow]:
        """Return the rows after a place, in order, as they are now; `b""` is before all."""
        ...


class Panes(KeyedRows, Protocol):
    """Rows by `(pane, key)`. Of a table; what is after a place is so in the order of panes."""

    def numbers(self) -> list[int]:
        """Return the panes that have rows, in order; as fast as there are panes."""
        ...

    def of_pane(self, pane: int, place: bytes) -> Iterator[PlacedRow]:
        """Return the rows of a pane by their keys alone, those after `place`, in order, as they are now."""
        ...

    def forget(self, pane: int) -> None:
        """Remove all rows of a pane; takes no longer where there are many."""
        ...


class Table(KeyedRows, Protocol):
    """The rows of one step's instance. Used by one thread, but for `settle` of what it laid down."""

    @property
    def share(self) -> tuple[int, int]:
        """Which instance of how many it is of."""
        ...

    @property
    def panes(self) -> Panes: ...

    def write_due(self, rows: Iterable[DueRow], done: Iterable[bytes]) -> None:
        """Put in what is due, and forget what is done."""
        ...

    def due(self, begin: bytes, max_rows: int) -> list[DueRow]:
        """Return what is due first, from place `begin` on, in order."""
        ...

    def lay_down(self) -> LaidDown: ...

    def take_up(self, stored: Stored) -> None:
        """Hold what was laid down, as far as it is this instance's; called once, before all else.

        Raises CheckpointUnusable.
        """
        ...

    def close(self) -> None:
        """Let go of all that is not laid down; called once."""
        ...


class Tables(Protocol):
    """Makes the tables of one task."""

    def open(self, step: str) -> Table:
        """Return an empty table for a step. Raises ExtraMissing and CheckpointUnusable."""
        ...
