"""What every way of choosing engines does. Knows none of them."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from cluster.serving.account import EngineAccount
from cluster.serving.kept_exactly import KeptExactly
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import EngineId
from sage.base.inference import Usage

Accounts = Mapping[EngineId, EngineAccount]


class EngineRoute(Protocol):
    """Chooses among engines with room; remembers what it gave to whom."""

    @property
    def name(self) -> str: ...

    @property
    def is_by_cached(self) -> bool:
        """Whether it asks what engines have cached."""
        ...

    def knows(self, kept: KeptExactly) -> None:
        """Use what engines tell exactly of what they keep."""
        ...

    def standing(self, account: EngineAccount) -> float:
        """Return a number that changes only when something is charged or released; the lowest is looked at first."""
        ...

    @property
    def weighs_speed(self) -> bool:
        """Whether it asks how much slower some engines are than others."""
        ...

    def longer(self, ticket: Ticket, account: EngineAccount) -> float:
        """Return what is added to its standing for a request that takes longer there than on the fastest ones."""
        ...

    def loading(self, account: EngineAccount, lane: Lane) -> float:
        """Return what is added to its standing where it must load the adapter of a lane."""
        ...

    def choose(self, ticket: Ticket, first: EngineAccount, accounts: Accounts) -> EngineAccount:
        """Return an engine with room; `first` has room and the lowest standing, what it must load included."""
        ...

    def came(self, ticket: Ticket) -> None:
        """Read what will be needed of a request that begins to wait, while it is at hand."""
        ...

    def given(self, ticket: Ticket, account: EngineAccount) -> int:
        """Remember that a ticket is given to an engine now; return how much of its prompt is not cached there."""
        ...

    def answered(self, ticket: Ticket, usage: Usage) -> None:
        """Learn from how much of its prompt the engine of a ticket had cached."""
        ...

    def given_back(self, ticket: Ticket) -> None:
        """Forget that the engine of a ticket was given it: it stopped before the first token."""
        ...

    def gone(self, engine_id: EngineId) -> None:
        """Forget what an engine had cached that is no more."""
        ...

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        """Return how much of its prompt is not cached at an engine, as far as is known."""
        ...

    def affinity_tokens(self, ticket: Ticket) -> float | None:
        """Return how many of its tokens an engine has cached, as far as is known; None where it does not ask."""
        ...

    def holders(self, ticket: Ticket) -> Iterable[EngineId]:
        """Return the engines that have a beginning of its prompt cached, as far as is known."""
        ...
