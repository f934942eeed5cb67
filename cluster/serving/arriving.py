"""From a request that comes to its ticket: its number, its size, when it is due. Knows no queue and no engine."""

from cluster.serving.patience import Patience
from cluster.serving.size import Sizing
from cluster.serving.slack import Slack
from cluster.serving.ticket import Lane, Ticket, ticket_for
from sage.base.inference import Request


class Arriving:
    """Counts requests that are let in, and learns from calls of flows how much follows them."""

    def __init__(self, sizing: Sizing, patience: Patience) -> None:
        self._sizing = sizing
        self._patience = patience
        self._slack = Slack(patience)
        self._num_let_in = 0

    def ticket(self, request: Request, lane: Lane, now_s: float) -> Ticket:
        """Return the ticket of a request that comes now; the number is its own once it is let in."""
        size = self._sizing.size(request)
        ticket = ticket_for(request, lane, self._num_let_in, now_s, size, patience=self._patience)
        self._slack.arrived(ticket, now_s)
        return ticket

    def let_in(self) -> None:
        """Note that the last ticket's request may wait."""
        self._num_let_in += 1

    def ended(self, ticket: Ticket, now_s: float) -> None:
        """Note that an engine answered a request."""
        self._slack.ended(ticket, now_s)
