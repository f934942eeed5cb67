"""A dict of more keys than memory has room for: what was used last is in memory, all else in a table. Knows no file.

itself    what was touched since it was last written: a loop that gets a value goes on to change it
clean     what was touched before that, as it is in the table
gone      keys that were deleted since it was last written
"""

from collections.abc import Callable, Hashable, ItemsView, Iterator
from itertools import islice
from typing import Any

from operators.accumulate import MISSING
from operators.state import StepState, Values
from operators.tables import KeyedRows, PlacedRow, Table
from sage.base.errors import CheckpointUnusable

_CACHE_BYTES = 4 << 20
"""Of rows, as they are in the table, that are kept in memory as Python's objects: some five times as much there."""

_MAX_ROWS = 16_384
_MAX_PART = 1_000
_FIRST_ROWS = 16
"""Rows are measured when they are written: the first soon, since nobody knows yet how large they are."""

_get = dict.get


def _same(row: Any) -> Any:
    return row


class Spilled(dict[Hashable, Any]):
    """Values of keys; `trim` is to be called between two pieces of work, never while a value is at hand."""

    def __init__(
        self,
        table: Table,
        *,
        rows: KeyedRows | None = None,
        to_row: Callable[[Any], Any] = _same,
        from_row: Callable[[Any], Any] = _same,
    ) -> None:
        """`rows`: those of the table that it keeps; None: those by key alone.

        `to_row` makes what is written of a value, `from_row` a value of that.
        """
        super().__init__()
        self.table = table
        self._rows: KeyedRows = table if rows is None else rows
        self._to_row = to_row
        self._from_row = from_row
        self._clean: dict[Hashable, Any] = {}
        self._gone: set[Hashable] = set()
        self._max_rows = _FIRST_ROWS

    def get(self, key: Hashable, default: Any = None) -> Any:
        found = _get(self, key, MISSING)
        if found is MISSING:
            found = self._load(key)
        return default if found is MISSING else found

    def __missing__(self, key: Hashable) -> Any:
        found = self._load(key)
        if found is MISSING:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key, MISSING) is not MISSING

    def __delitem__(self, key: Hashable) -> None:
        super().pop(key, None)
        self._clean.pop(key, None)
        self._gone.add(key)

    def items(self) -> ItemsView[Hashable, Any]:  # type: ignore[override] # nobody can make what dict.items returns
        """Return all there is, as a dict: whoever asks for it has room for it."""
        return {key: value for _, key, value in self.after(b"")}.items()

    def after(self, place: bytes) -> Iterator[PlacedRow]:
        """Return the keys after a place with their values, in the order of the table, as they are now.

        The values are of whoever asks: to change one is to set it.
        """
        self.write()
        return ((at, key, self._from_row(row)) for at, key, row in self._rows.after(place))

    @property
    def len_part(self) -> int:
        """How many values may be at hand at once."""
        return min(self._max_rows, _MAX_PART)

    def forget_clean(self, is_gone: Callable[[Any], bool]) -> None:
        """Forget of what is not touched the keys whose rows are gone from the table."""
        self._clean = {key: value for key, value in self._clean.items() if not is_gone(key)}

    def trim(self) -> None:
        """Write what was touched, where it is much."""
        if len(self) + len(self._gone) > self._max_rows:
            self.write()

    def write(self) -> None:
        """Write what was touched. Raises RecordUnsendable for what cannot be saved."""
        if not self and not self._gone:
            return
        rows = [(key, self._to_row(value)) for key, value in super().items()]
        num_bytes = self._rows.write(rows, [key for key in self._gone if _get(self, key, MISSING) is MISSING])
        if rows:
            room = max(1, _CACHE_BYTES // 2 * len(rows) // max(num_bytes, 1))  # of two: touched, and clean
            self._max_rows = min(_MAX_ROWS, 2 * self._max_rows, room)
        self._clean |= self
        if len(self._clean) > self._max_rows:
            self._clean = dict(zip(self, self.values(), strict=True))
        self.clear()
        self._gone.clear()

    def write_anew(self, is_gone: Callable[[Any], bool]) -> None:
        """Write every row as its value is now, but for those that are gone. Takes as long as there are rows."""
        place = b""
        while part := list(islice(self.after(place), self.len_part)):
            for _, key, value in part:
                if is_gone(value):
                    del self[key]
                else:
                    self[key] = value
            place = part[-1][0]
        self.write()

    def _load(self, key: Hashable) -> Any:
        found = self._clean.pop(key, MISSING)
        if found is MISSING and key not in self._gone:
            row = self._rows.get(key, MISSING)
            found = row if row is MISSING else self._from_row(row)
        if found is not MISSING:
            self[key] = found
        return found

    def snapshot(self, keyed: Values | None = None) -> StepState:
        """Lay the table down; `keyed` is saved beside it."""
        self.write()
        laid_down = self.table.lay_down()
        return StepState(keyed, stored=laid_down.stored, settle=laid_down.settle)

    def restore(self, state: StepState) -> None:
        """Take up the table of a snapshot."""
        if state.stored:
            self.table.take_up(state.stored)


def refuse_stored(state: StepState) -> None:
    """Refuse, where state is held in memory, tables that nobody has read into it before; raises CheckpointUnusable."""
    if state.stored:
        raise CheckpointUnusable(
            "the checkpoint holds state that was kept in RocksDB",
            'Go on as before: sage.Checkpoint(..., state="rocksdb"), or begin anew: resume="never".',
        )
