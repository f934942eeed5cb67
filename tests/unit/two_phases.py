"""A sink of two phases: a ledger that takes each part of a writing once, and shows nothing that is not committed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from sage.flow.ports import Written

Part = tuple[int, list[Any]]
"""The number of a part, from 1 on, and its records."""


class Ledger(Protocol):
    """What others see. It knows how far each writing is committed, as one transaction with the records."""

    def begin(self) -> str:
        """Return the name of a new writing."""
        ...

    def commit(self, writing: str, parts: Sequence[Part]) -> None:
        """Take those parts, in order, that it does not have."""
        ...


@dataclass
class MemoryLedger:
    """`num_again`: parts that were committed before."""

    records: list[Any] = field(default_factory=list)
    num_again: int = 0
    _newest: dict[str, int] = field(default_factory=dict)
    _names: Any = field(default_factory=count)

    def begin(self) -> str:
        return str(next(self._names))

    def commit(self, writing: str, parts: Sequence[Part]) -> None:
        for number, records in parts:
            if number > self._newest.get(writing, 0):
                self._newest[writing] = number
                self.records += records
            else:
                self.num_again += 1


@dataclass(frozen=True)
class LedgerSink:
    """Where there are no checkpoints, all is committed at the end."""

    ledger: Ledger

    def share(self, number: int, num_shares: int) -> "LedgerSink":
        """Each writing has a name of its own."""
        return self

    def open(self) -> "LedgerWriter":
        return LedgerWriter(self.ledger, self.ledger.begin(), [], 0)

    def resume(self, position: Sequence[Any], contents: Sequence[Any]) -> "LedgerWriter":
        writing, parts, number = position
        self.ledger.commit(writing, parts)
        return LedgerWriter(self.ledger, writing, [], number)


class LedgerWriter:
    def __init__(self, ledger: Ledger, writing: str, parts: list[Part], number: int) -> None:
        self._ledger = ledger
        self._writing = writing
        self._parts = parts
        self._number = number
        self._records: list[Any] = []

    def write(self, records: Sequence[Any]) -> None:
        self._records += records

    def written(self) -> Written:
        if self._records:
            self._number += 1
            self._parts.append((self._number, self._records))
            self._records = []
        number = self._number
        position = (self._writing, list(self._parts), number)
        return Written(position, commit=(lambda: self._commit(number)) if self._parts else None)

    def close(self, *, complete: bool) -> None:
        if complete and self._records:
            self._ledger.commit(self._writing, [(self._number + 1, self._records)])

    def _commit(self, number: int) -> None:
        self._ledger.commit(self._writing, [part for part in self._parts if part[0] <= number])
        self._parts = [part for part in self._parts if part[0] > number]
