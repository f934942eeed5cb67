"""Which requests engines give back before their first token, so that urgent ones begin. Knows no clock and no answer.

Where classes go before each other, an interactive request that finds no room takes the place of one of class batch
that an engine was given and has said nothing of yet, if it is foretold to gain more by that than is thrown away
(`giving_back`). That one waits again where it stood. It is taken back once at most, and never where its floor let it go
before others: so the bound of its wait holds.

    given --chosen--> told to the engine --stopped--> waits again
                           +--its first token or its end came before--> goes on
"""

from collections.abc import Collection, Iterable, Mapping

from cluster.serving.abandoned import Abandoned
from cluster.serving.giving_back import best_to_take_back
from cluster.serving.queue import WaitingQueue
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket, engine_of
from sage.base.errors import RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import TEXT_KINDS, Failed, Last, ServiceClass

MAX_TAKEN_BACK = 1  # times, of one request
MAX_LOOKED_AT = 16  # of those that could be taken back, for one that waits

_INTERACTIVE, BATCH = ServiceClass.INTERACTIVE, ServiceClass.BATCH


class Preemption:
    """Reads queue and engines; remembers what could be taken back, and what was and has not come yet."""

    def __init__(self, queue: WaitingQueue, router: Router) -> None:
        self._queue = queue
        self._router = router
        self._given: dict[RequestId, Ticket] = {}  # in the order in which they were
        self.coming = Abandoned()
        self.num_taken_back = 0

    def given(self, ticket: Ticket) -> None:
        """Note what of class batch an engine is given."""
        if _may_come_back(ticket):
            self._given[ticket.request.id] = ticket

    def goes_on(self, request_id: RequestId) -> None:
        """Note that a request has its first token, or is over: it is not taken back any more."""
        self._given.pop(request_id, None)
        if self.coming.tickets and self.coming.pop(request_id) is not None:
            self._queue.num_reserved -= 1

    def choose(self, lanes: Iterable[Lane], max_waiting: int, now_s: float) -> dict[EngineId, list[RequestId]]:
        """Return what engines are to give back now; for each, one that is urgent and waits in `lanes` gets its place.

        Costs nothing where no request of class batch is before its first token.
        """
        if not self._given or not self._queue.policy.is_by_class:
            return {}
        chosen: dict[EngineId, list[RequestId]] = {}
        for lane in lanes:
            while self._has_room_to_wait(max_waiting) and (ticket := self._choice(lane, now_s)) is not None:
                del self._given[ticket.request.id]
                self.coming.add(ticket, now_s)
                self._queue.num_reserved += 1
                chosen.setdefault(engine_of(ticket), []).append(ticket.request.id)
        return chosen

    def comes_back(self, ticket: Ticket, last: Last) -> bool:
        """Take how a request ended at its engine; say whether it was taken back, and is to wait again."""
        request_id = ticket.request.id
        self._given.pop(request_id, None)
        if not self.coming.tickets or self.coming.pop(request_id) is None:
            return False
        self._queue.num_reserved -= 1
        if type(last) is not Failed or last.failure.code != RequestCancelled.code:
            return False
        self._router.route.given_back(ticket)
        self.num_taken_back += 1
        ticket.num_taken_back += 1
        ticket.engine_id = ticket.affinity_tokens = None
        return True

    def _has_room_to_wait(self, max_waiting: int) -> bool:
        return len(self._queue) + self._queue.num_reserved < max_waiting

    def _choice(self, lane: Lane, now_s: float) -> Ticket | None:
        """Return the request whose place the first of `lane` is to have; None where it is to wait."""
        if lane.kind in TEXT_KINDS:  # these wait for a batch to end, and no prompt's end gives them room
            return None
        coming = self.coming.tickets.values()
        num_coming = sum([lane in self._lanes_of(ticket) for ticket in coming]) if coming else 0
        if self._queue.num_urgent(lane) <= num_coming or self._router.takes_at_once(lane):
            return None
        first = self._queue.first(lane)
        if first is None or first.request.service_class is not _INTERACTIVE:
            return None
        newest = zip(reversed(self._given.values()), range(MAX_LOOKED_AT), strict=False)
        coming_tokens: dict[EngineId, int] = {}
        for ticket in coming:
            engine_id = engine_of(ticket)
            coming_tokens[engine_id] = coming_tokens.get(engine_id, 0) + ticket.uncached_tokens
        able = [ticket for ticket, _ in newest if self._makes_room(ticket, lane, coming_tokens)]
        return best_to_take_back(first, able, self._router, now_s)

    def _makes_room(self, ticket: Ticket, lane: Lane, coming_tokens: Mapping[EngineId, int]) -> bool:
        """Say whether its engine would have room for a prompt of `lane` without it, and without those that are coming
        back from there."""
        engine_id = engine_of(ticket)
        account = self._router.account(engine_id)
        if account is None or account.is_retired or not account.has_slot_for(lane) or not account.info.gives_back:
            return False
        left = account.prefill_tokens - ticket.uncached_tokens - coming_tokens.get(engine_id, 0)
        return left <= account.window.tokens

    def _lanes_of(self, ticket: Ticket) -> Collection[Lane]:
        account = self._router.account(engine_of(ticket))
        return () if account is None else account.lanes


def _may_come_back(ticket: Ticket) -> bool:
    return not ticket.is_by_floor and ticket.num_taken_back < MAX_TAKEN_BACK and ticket.lane.kind not in TEXT_KINDS
