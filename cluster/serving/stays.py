"""How long adapters (LoRA) stay in the slots of engines while others wait for one. Knows no clock and no answer.

Many adapters over few slots would spend an engine's time on loading: so one that is in a slot and waited for stays
until loading it has paid (`AdapterLoads.stay`). Nor may those that are always at work keep others out for ever: one
that has stayed so long takes nothing more once a request that stands before its next one waits for a slot.
"""

from itertools import islice

from cluster.serving.account import EngineAccount
from cluster.serving.queue import WaitingQueue
from cluster.serving.route import Router
from cluster.serving.slower import may_take
from cluster.serving.ticket import Lane, Ticket, lane_for
from sage.base.inference import Kind, ServiceClass

MAX_LOOKED_AT = 8  # of the adapters that wait for a slot, for one pick

_URGENCY = {service_class: number for number, service_class in enumerate(ServiceClass)}


class Stays:
    """Reads queue and engines; remembers which adapters waited for a slot."""

    def __init__(self, queue: WaitingQueue, router: Router) -> None:
        self._queue = queue
        self._router = router
        self._waiting: dict[Lane, None] = {}

    def waits(self, lane: Lane) -> None:
        """Note that something waits in a lane for which no engine has room."""
        serving = self._router.serving(lane)
        if serving and serving[0].slots is not None:
            self._waiting[lane] = None

    def lane_instead(self, lane: Lane, ticket: Ticket, account: EngineAccount, now_s: float) -> Lane:
        """Return the lane whose first an engine gets in place of `ticket`, for which it would load an adapter: that of
        the one that would leave its slot, has not stayed long and is waited for as urgently, where the engine may take
        it; else `lane`."""
        slots = account.slots
        if slots is None or not account.must_load(lane) or (out := slots.next_out) is None:
            return lane
        if slots.work[out] >= account.loads.stay:
            return lane
        for kind in (Kind.CHAT, Kind.GENERATE):
            other = lane_for(out, kind)
            first = self._queue.first(other) if other in account.lanes else None
            if first is None or _urgency(first) > _urgency(ticket):
                continue
            if may_take(account, first, now_s, self._router.route):
                first.staying = None  # no route chose for it
                return other
        return lane

    def must_leave(self, lane: Lane, account: EngineAccount) -> bool:
        """Say whether an engine is to take nothing more of the adapter that `lane` asks for, which it has ready."""
        slots = account.slots
        if slots is None or not self._waiting or lane.model not in slots or slots.closed is not None:
            return False
        if slots.can_load or slots.work[lane.model] < account.loads.stay:
            return False
        own = self._queue.head(lane)
        assert own is not None, "its first is to be given"
        for other in list(islice(self._waiting, MAX_LOOKED_AT)):
            head = self._queue.head(other)
            if head is None:
                del self._waiting[other]
            elif head < own and account.must_load(other):
                return True
            else:  # those behind have their turn at the next look
                del self._waiting[other]
                self._waiting[other] = None
        return False


def _urgency(ticket: Ticket) -> int:
    return _URGENCY[ticket.request.service_class]
