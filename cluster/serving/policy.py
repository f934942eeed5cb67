"""In which order waiting requests are served. Knows nothing of the queue that asks, nor of engines."""

import difflib
from typing import Protocol

from cluster.serving.ticket import Ticket
from sage.base.errors import UnknownPolicy
from sage.base.inference import ServiceClass

POLICY_NAMES = ("fifo", "priority")


class Policy(Protocol):
    """Gives each waiting request its rank, once: when it arrives, or when this becomes the policy."""

    @property
    def name(self) -> str: ...

    def rank(self, ticket: Ticket) -> float:
        """Return a finite number; lower ranks go first, equal ranks in order of arrival."""
        ...


class FirstComeFirstServed:
    """Order of arrival, whatever the class."""

    name = "fifo"

    def rank(self, ticket: Ticket) -> float:
        return 0.0


_CLASS_RANKS = {ServiceClass.INTERACTIVE: 0.0, ServiceClass.STANDARD: 1.0, ServiceClass.BATCH: 2.0}


class ClassesInOrder:
    """All interactive requests, then standard, then batch; by arrival within a class."""

    name = "priority"

    def rank(self, ticket: Ticket) -> float:
        return _CLASS_RANKS[ticket.request.service_class]


def policy_named(name: str) -> Policy:
    """Return the policy of this name; raises UnknownPolicy with the nearest name."""
    match name:
        case "fifo":
            return FirstComeFirstServed()
        case "priority":
            return ClassesInOrder()
        case _:
            nearest = difflib.get_close_matches(name, POLICY_NAMES, n=1, cutoff=0.0)[0]
            known = ", ".join(POLICY_NAMES)
            raise UnknownPolicy(
                f"no scheduling policy is called {name!r}",
                f"Did you mean {nearest!r}? The policies are: {known}.",
                param="policy",
            )
