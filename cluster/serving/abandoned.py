"""Requests that were answered while an engine worked on them: it was told to stop. Knows nothing of what follows."""

import math
from collections.abc import Mapping

from cluster.serving.ticket import Ticket
from sage.base.errors import EngineLost
from sage.base.ids import RequestId
from sage.base.inference import Failure

PATIENCE_S = 60.0
"""How long an engine may take to say that it has stopped. It hears between two iterations: of chat they take 60 ms, of
32 long texts to embed 1 s on two busy cores (measured 2026-11-22)."""
SILENT = Failure.of(EngineLost(f"it had not stopped a request {PATIENCE_S:g} s after it was told to"))
"""Why an engine that takes longer is given up."""


class Abandoned:
    """Tickets whose engine still holds them, by id, and since when each has been waited for."""

    def __init__(self) -> None:
        self._tickets: dict[RequestId, Ticket] = {}
        self.tickets: Mapping[RequestId, Ticket] = self._tickets
        self._due_s: dict[RequestId, float] = {}  # in order, since the patience is one for all

    def __contains__(self, request_id: RequestId) -> bool:
        return request_id in self._tickets

    def add(self, ticket: Ticket, now_s: float) -> None:
        """Wait from now on for the engine to let `ticket` go."""
        self._tickets[ticket.request.id] = ticket
        self._due_s[ticket.request.id] = now_s + PATIENCE_S

    def pop(self, request_id: RequestId) -> Ticket | None:
        """Forget a ticket that its engine holds no more; None if it was not abandoned."""
        self._due_s.pop(request_id, None)
        return self._tickets.pop(request_id, None)

    def earliest_s(self) -> float:
        """Return when patience next ends; infinite where nothing is waited for."""
        return next(iter(self._due_s.values())) if self._due_s else math.inf

    def overdue(self, now_s: float) -> list[Ticket]:
        """Return the tickets whose engine has been silent for too long, each once; they stay abandoned."""
        ids = []
        for request_id, due_s in self._due_s.items():
            if due_s > now_s:
                break
            ids.append(request_id)
        for request_id in ids:
            del self._due_s[request_id]
        return [self._tickets[request_id] for request_id in ids]
