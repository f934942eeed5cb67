"""Which requests are let in first where not all can be: those of which engines have more cached. Knows no queue.

Prompt tokens that are cached cost an engine nothing, so the same engines answer more of them. A request that has less
of its prompt cached than others had lately must have time to spare; where nothing is ever cached, none must.
"""

from cluster.serving.ticket import Lane, Ticket

STRENGTH = 2.0
"""By how much longer a forecast counts that has a share of 1 less cached: 2 gains requests over 1 and loses no tokens,
3 loses tokens at moderate load (simulated, Mooncake's conversations at loads 1.2 and 2; rough)."""
_KEEP = 0.99  # of the mean with each request: about the last hundred count


class Preference:
    """Remembers, for each lane, what share of their prompts requests had cached as they came."""

    def __init__(self) -> None:
        self._shares: dict[Lane, float] = {}

    def came(self, ticket: Ticket) -> float:
        """Note a request that comes; return by what factor its forecast is to count, 1 or more."""
        share = ticket.cached_tokens / max(1, ticket.size.prompt_tokens)
        usual = _KEEP * self._shares.get(ticket.lane, 0.0) + (1.0 - _KEEP) * share
        self._shares[ticket.lane] = usual
        return 1.0 + STRENGTH * max(0.0, usual - share)
