"""In which order waiting requests are served. Knows nothing of the queue that asks, nor of engines.

| name | first | source |
| --- | --- | --- |
| fifo | who came first | - |
| priority | interactive, standard, batch; each with a floor of tokens; by arrival within a class | - |
| edf | who is due first: by its record's slack, by deadline, or by the patience of its class | Liu and Layland, 1973 |
| dlpm | the tenant served least; near it, who finds most of its prompt in a cache | Cao et al., 2025 |
| hybrid | classes with floors; within a class as dlpm; within a tenant as edf | - |

Where nothing is refused for coming late, `dlpm` and `hybrid` put before those near it, and `route` and `batch` send
straight to the engine soonest done, what is sparse: the only one of its tenant that waits (RFC 8290, 4.2).
"""

from collections.abc import Callable
from typing import Protocol

from cluster.serving.fair import Counters, Fair, WeightOf, alike
from cluster.serving.names import unknown
from cluster.serving.order import Classes, Floors, Order, Ranked
from cluster.serving.ticket import Ticket
from sage.base.inference import ServiceClass

POLICY_NAMES = ("fifo", "priority", "edf", "dlpm", "hybrid")

FLOOR_SHARES = {ServiceClass.STANDARD: 0.10, ServiceClass.BATCH: 0.05}
"""Tokens that a class that waits gets for each token of a more urgent one: nobody starves, and 15 % is the most that
interactive requests lose; twice that where such classes wait in other lanes of the same engines too."""

AGEING_S = 60.0
BEFOREHAND_TOKENS = 32_768.0
"""What a class may have been given beyond its floor that counts against it. Floors are for whoever starves: at load 2 a
class batch that had most of the engines took 5 % of each rush of urgent requests too. Of these 0.93 in place of 0.86
are in time on Azure's code, 0.98 of 0.96 on Mooncake's conversations (simulated: `hybrid`, four H100 engines, a fifth
interactive and half batch, nothing refused, seeds 31 to 33). Twice as much brings no more, a quarter half as much on
Azure's code (2026-11-23)."""

SAVED_TOKENS = 16_384.0
"""What a tenant may take at once after it asked for nothing, where that is favoured: about four long prompts. Without,
a quiet tenant waits as soon as it asks for two at a time (simulated; `route.SLOTS_FOR_A_KEPT_ONE` has the figures)."""

QUANTUM_TOKENS = 8_192.0
"""How far tenants may be apart before fairness beats locality; about two long prompts."""

Affinity = Callable[[Ticket], float | None]
"""Returns how many tokens of a ticket's prompt an engine with room has in its cache; None where nobody asks."""


class Policy(Protocol):
    """Makes the order of each lane, and is told what requests took in the end. Holds what lanes share."""

    @property
    def name(self) -> str: ...

    @property
    def is_by_class(self) -> bool:
        """Say whether more urgent classes go first, but for floors."""
        ...

    @property
    def is_by_due(self) -> bool:
        """Say whether what is due earlier goes first, within a class where it is by class."""
        ...

    @property
    def is_fair(self) -> bool:
        """Say whether tenants are served alike."""
        ...

    @property
    def is_by_work(self) -> bool:
        """Say whether what makes clearly more work than others must have time to spare to be let in, where what would
        be late is not."""
        ...

    @property
    def favours_sparse(self) -> bool:
        """Say whether what comes while nothing of its tenant waits and others' does is to wait as little as can be."""
        ...

    def order(self) -> Order:
        """Return a new, empty order."""
        ...

    def ended(self, ticket: Ticket, num_tokens: int) -> None:
        """Note that a request that was picked took `num_tokens`."""
        ...


class FirstComeFirstServed:
    """Order of arrival, whatever the class."""

    name = "fifo"
    is_by_class = False
    is_by_due = False
    is_fair = False
    is_by_work = False
    favours_sparse = False

    def order(self) -> Order:
        return Ranked(lambda ticket: 0.0)

    def ended(self, ticket: Ticket, num_tokens: int) -> None:
        """Nothing to account."""


class ClassesInOrder:
    """Interactive requests first, then standard, then batch; by arrival within a class."""

    name = "priority"
    is_by_class = True
    is_by_due = False
    is_fair = False
    is_by_work = False
    favours_sparse = False

    def __init__(self) -> None:
        self._floors = Floors(FLOOR_SHARES, AGEING_S, BEFOREHAND_TOKENS)

    def order(self) -> Order:
        return Classes(self._floors, lambda: Ranked(lambda ticket: 0.0))

    def ended(self, ticket: Ticket, num_tokens: int) -> None:
        """Nothing to account: floors are of what was asked for."""


class EarliestDueFirst:
    """By deadline; without one, by when its class would have it begun. What is late goes on being first."""

    name = "edf"
    is_by_class = False
    is_by_due = True
    is_fair = False
    is_by_work = False
    favours_sparse = False

    def order(self) -> Order:
        return Ranked(lambda ticket: ticket.due_s)

    def ended(self, ticket: Ticket, num_tokens: int) -> None:
        """Nothing to account."""


class FairWithLocality:
    """Tenants alike in tokens, by their weights, and among those nearly alike the one whose prompt is cached."""

    name = "dlpm"
    is_by_class = False
    is_by_due = False
    is_fair = True
    is_by_work = False

    def __init__(self, affinity_tokens: Affinity | None, weight_of: WeightOf, *, favours_sparse: bool = False) -> None:
        self._counters = Counters(weight_of, saved_tokens=SAVED_TOKENS if favours_sparse else 0.0)
        self._affinity_tokens = affinity_tokens
        self.favours_sparse = favours_sparse

    def order(self) -> Order:
        return self._fair(lambda: Ranked(lambda ticket: 0.0))

    def ended(self, ticket: Ticket, num_tokens: int) -> None:
        self._counters.correct(ticket.request.tenant, num_tokens - ticket.cost_tokens)

    def _fair(self, child: Callable[[], Order]) -> Order:
        return Fair(
            self._counters,
            child,
            quantum_tokens=QUANTUM_TOKENS,
            affinity_tokens=self._affinity_tokens,
            favours_sparse=self.favours_sparse,
        )


class Hybrid(FairWithLocality):
    """Classes with floors, tenants fair within a class, who is due first within a tenant."""

    name = "hybrid"
    is_by_class = True
    is_by_due = True
    is_fair = True
    is_by_work = True

    def __init__(self, affinity_tokens: Affinity | None, weight_of: WeightOf, *, favours_sparse: bool = False) -> None:
        super().__init__(affinity_tokens, weight_of, favours_sparse=favours_sparse)
        self._floors = Floors(FLOOR_SHARES, AGEING_S, BEFOREHAND_TOKENS)

    def order(self) -> Order:
        return Classes(self._floors, lambda: self._fair(lambda: Ranked(lambda ticket: ticket.order_s)))


def policy_named(
    name: str,
    affinity_tokens: Affinity | None = None,
    weight_of: WeightOf = alike,
    *,
    favours_sparse: bool = False,
) -> Policy:
    """Return a new policy of this name; raises UnknownPolicy with the nearest name.

    `affinity_tokens` is given where the route knows what is cached where; `weight_of` a tenant counts where it is fair;
    there, `favours_sparse` lets who asks for little wait as little as can be.
    """
    match name:
        case "fifo":
            return FirstComeFirstServed()
        case "priority":
            return ClassesInOrder()
        case "edf":
            return EarliestDueFirst()
        case "dlpm":
            return FairWithLocality(affinity_tokens, weight_of, favours_sparse=favours_sparse)
        case "hybrid":
            return Hybrid(affinity_tokens, weight_of, favours_sparse=favours_sparse)
        case _:
            raise unknown("scheduling policy", name, POLICY_NAMES, plural="policies", param="policy")
