"""How much waits before a request, in prompt tokens and in work. Knows no order: it is told what goes first."""

from dataclasses import dataclass, field

from cluster.serving.fair import WeightOf, alike
from cluster.serving.patience import USUAL, Patience
from cluster.serving.ticket import Lane, Ticket
from sage.base.inference import ServiceClass

_URGENCY = {service_class: number for number, service_class in enumerate(ServiceClass)}


@dataclass(slots=True)
class Ahead:
    """What is served together: uncached prompt tokens, work (these and answers, in prompt tokens), number."""

    prompt_tokens: float = 0.0
    work: float = 0.0
    num: int = 0
    due_s: float = 0.0  # of all of them together

    def with_one_more(self, ticket: Ticket) -> "Ahead":
        """Return this with a ticket put before it."""
        return Ahead(self.prompt_tokens + ticket.expected_tokens, self.work + ticket.expected_work)

    def add(self, ticket: Ticket, sign: int) -> None:
        self.prompt_tokens += sign * ticket.expected_tokens
        self.work += sign * ticket.expected_work
        self.num += sign
        self.due_s += sign * ticket.due_s


@dataclass(slots=True)
class _LaneBacklog:
    num_waiting: int = 0
    by_due: dict[tuple[int, int], Ahead] = field(default_factory=dict)  # urgency and step of when it is due
    by_tenant: dict[str, tuple[int, Ahead]] = field(default_factory=dict)  # number of requests
    weight: float = 0.0  # of those tenants together


class Backlog:
    """Sums over what waits, a lane each. Adding and removing cost O(1), looking O(sums of the lane)."""

    def __init__(self, weight_of: WeightOf = alike, patience: Patience = USUAL) -> None:
        """By `patience` it is cut what is due together: about sixty sums of a class at most."""
        self._lanes: dict[Lane, _LaneBacklog] = {}
        self._step_s = patience.steps
        self._steps = tuple(patience.steps.values())
        self._weight_of = weight_of

    def add(self, ticket: Ticket) -> None:
        self._count(ticket, 1)

    def remove(self, ticket: Ticket) -> bool:
        """Count a ticket no more; say whether it was the last of its lane."""
        self._count(ticket, -1)
        return ticket.lane not in self._lanes

    def num_waiting_of(self, tenant: str) -> int:
        """Return how many requests of a tenant wait, in all lanes."""
        return sum(backlog.by_tenant[tenant][0] for backlog in self._lanes.values() if tenant in backlog.by_tenant)

    def num_tenants(self, lane: Lane) -> int:
        """Return of how many tenants requests wait."""
        backlog = self._lanes.get(lane)
        return 0 if backlog is None else len(backlog.by_tenant)

    def before(self, ticket: Ticket, *, is_by_class: bool, is_by_due: bool, is_fair: bool) -> Ahead:
        """Return what would be served before `ticket`, were it to wait: of more urgent classes, or earlier due; among
        tenants served by weight no more than as much for each, by weight, as its own has waiting."""
        backlog, ahead = self._lanes.get(ticket.lane), Ahead()
        if backlog is None:
            return ahead
        urgency, step = self._place(ticket)
        due_s = step * self._step_s[ticket.request.service_class]
        for (other, other_step), sums in backlog.by_due.items():
            if is_by_class and other > urgency:
                continue
            if is_by_due and not (is_by_class and other < urgency) and other_step * self._steps[other] > due_s:
                continue
            ahead.prompt_tokens += sums.prompt_tokens
            ahead.work += sums.work
        if is_fair:
            _, own = backlog.by_tenant.get(ticket.request.tenant, (0, Ahead()))
            weight = self._weight_of(ticket.request.tenant)
            total = backlog.weight + (0.0 if ticket.request.tenant in backlog.by_tenant else weight)
            most = total / weight * (own.work + ticket.expected_work)
            if ahead.work > most > 0.0:
                ahead = Ahead(ahead.prompt_tokens * most / ahead.work, most)
        return ahead

    def behind(self, ticket: Ticket) -> list[tuple[Ahead, Ahead]]:
        """Return what of its class is due later than `ticket`, in order: all that goes before its end, and it."""
        backlog = self._lanes.get(ticket.lane)
        if backlog is None:
            return []
        urgency, step = self._place(ticket)
        before = self.before(ticket, is_by_class=True, is_by_due=True, is_fair=False)
        found = []
        total = Ahead(before.prompt_tokens, before.work)
        for place in sorted(place for place in backlog.by_due if place[0] == urgency and place[1] > step):
            sums = backlog.by_due[place]
            total = Ahead(total.prompt_tokens + sums.prompt_tokens, total.work + sums.work)
            found.append((total, sums))
        return found

    def _count(self, ticket: Ticket, sign: int) -> None:
        backlog = self._lanes.get(ticket.lane)
        if backlog is None:
            backlog = self._lanes[ticket.lane] = _LaneBacklog()
        backlog.num_waiting += sign
        if not backlog.num_waiting:
            del self._lanes[ticket.lane]
            return
        place = self._place(ticket)
        sums = backlog.by_due.get(place)
        if sums is None:
            sums = backlog.by_due[place] = Ahead()
        sums.add(ticket, sign)
        if not sums.num:
            del backlog.by_due[place]
        tenant = ticket.request.tenant
        num, own = backlog.by_tenant.get(tenant) or (0, Ahead())
        own.add(ticket, sign)
        if not num:
            backlog.weight += self._weight_of(tenant)
        if num + sign:
            backlog.by_tenant[tenant] = (num + sign, own)
        else:
            del backlog.by_tenant[tenant]
            backlog.weight -= self._weight_of(tenant)

    def _place(self, ticket: Ticket) -> tuple[int, int]:
        service_class = ticket.request.service_class
        return _URGENCY[service_class], int(ticket.order_s // self._step_s[service_class])
