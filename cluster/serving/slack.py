"""When a call must begin for its record to be in time at the end of the flow. Pure; knows no queue and no engine.

Slack is what is left until the record is due, less what engines have to do for it: this call and those after it, as
learned from the flow (minimum slack first: Stankovic and Ramamritham, 1985; for graphs of calls to language models
research of 2025). A record whose slack is used up when a call of it arrives would only make others late: it waits
behind those that can be in time, as patiently as its class.
"""

from cluster.serving.downstream import Downstream
from cluster.serving.patience import USUAL, Patience
from cluster.serving.ticket import Ticket

HOPELESS = 0.5
"""A record is taken for late only where it lacks more than so much of the time that it would still take: what is
learned are means, and half of all calls are shorter."""


class Slack:
    """Learns from calls of flows, and sets when each is to begin."""

    def __init__(self, patience: Patience = USUAL) -> None:
        self._downstream = Downstream()
        self._patience = patience

    def arrived(self, ticket: Ticket, now_s: float) -> None:
        """Note a call, and place it by its record's slack where the record is due at some time."""
        origin = ticket.request.origin
        if origin is None:
            return
        self._downstream.arrived(origin)
        if origin.due_in_s is None:
            return
        left_s = self._downstream.left_s(origin)
        slack_s = origin.due_in_s - left_s
        if slack_s < -HOPELESS * left_s:
            slack_s = self._patience.of[ticket.request.service_class]
        ticket.due_s = ticket.order_s = min(ticket.deadline_s, now_s + slack_s)

    def ended(self, ticket: Ticket, now_s: float) -> None:
        """Note that an engine answered a call."""
        if ticket.request.origin is not None:
            self._downstream.ended(ticket.request.origin, now_s - ticket.sent_s)
