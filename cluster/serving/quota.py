"""What each tenant may ask for: tokens and requests a minute or period, requests that wait. Knows no queue, no engine.

A bucket holds a minute's worth and fills within a minute: in any `s` seconds a tenant gets at most its quota times
`1 + s / 60` (token buckets as in RFC 2697). A list of texts that was split counts as one request. A request is charged
at the door for the longest answer that it asks for; what it did not need is given back when it ends, what it took
beyond (a prompt is measured by its length, an answer without `max_tokens` is assumed) is owed: nothing is let in before
that is made up for. Of periods knows `budget`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cluster.runtime.states import TenantState
from cluster.serving.budget import Budget
from cluster.serving.fair import WeightOf, alike
from cluster.serving.recent import Recent
from cluster.serving.ticket import Ticket
from sage.base.errors import BudgetSpent, InvalidRequest, QuotaExceeded, SageError
from sage.base.ids import RequestId
from sage.base.inference import Failed, Last, TextsRequest
from sage.base.settings import TenantSettings

EVERYBODY = "*"
"""Names what holds for each tenant that is not named."""

MINUTE_S = 60.0
MIN_RETRY_S = 0.1
NUM_LISTS = 1024  # of a tenant, of which it is remembered that they were counted
MAX_FULL = 1024  # accounts kept though nothing was taken from them within a minute


class Bucket:
    """Fills at an even rate up to what it holds. Below zero something is owed."""

    __slots__ = ("_at_s", "_level", "per_minute")

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """Return what can be taken now."""
        return min(self.per_minute, self._level + (now_s - self._at_s) * self.per_minute / MINUTE_S)

    def wait_s(self, amount: float, now_s: float) -> float:
        """Return in how many seconds `amount` can be taken, if nothing is taken before; 0.0: now."""
        return max(0.0, (amount - self.level(now_s)) * MINUTE_S / self.per_minute)

    def take(self, amount: float, now_s: float) -> None:
        """Take `amount`, or with a negative one give back; what does not fit is lost."""
        self._level = min(self.per_minute, self.level(now_s) - amount)
        self._at_s = now_s


@dataclass(slots=True)
class _Account:
    terms: TenantSettings
    tokens: Bucket | None
    requests: Bucket | None
    budget: Budget | None
    num_open: int = 0
    lists: Recent[RequestId, bool] = field(default_factory=lambda: Recent(NUM_LISTS))

    def num_requests(self, ticket: Ticket) -> int:
        """Return as how many requests one counts: what goes on with a list that was counted is none."""
        list_id = _list_of(ticket)
        return 0 if list_id is not None and self.lists.get(list_id) else 1

    def is_full(self, now_s: float, unix_s: float) -> bool:
        if self.budget is not None and not self.budget.is_whole(unix_s):
            return False
        buckets = (bucket for bucket in (self.tokens, self.requests) if bucket is not None)
        return not self.num_open and all(bucket.level(now_s) >= bucket.per_minute for bucket in buckets)


class Quotas:
    """An account for each tenant that has a quota. Each request let in is charged once and settled once."""

    def __init__(self, tenants: Iterable[TenantSettings] = (), unix_s_at_zero: float = 0.0) -> None:
        """`unix_s_at_zero`: what to add to the times that come here for seconds since the epoch."""
        self._unix_s_at_zero = unix_s_at_zero
        self._terms = {terms.name: terms for terms in tenants}
        self._accounts: dict[str, _Account] = {}
        self._num_kept = MAX_FULL

    @property
    def are_none(self) -> bool:
        """Say whether there are no terms for anybody: then nothing is refused and nothing need be charged."""
        return not self._terms

    @property
    def weight(self) -> WeightOf:
        """Returns a tenant's share beside those of others."""
        return self._weight if self._terms else alike

    def _weight(self, tenant: str) -> float:
        terms = self._terms_of(tenant)
        return 1.0 if terms is None else terms.weight

    def max_waiting(self, tenant: str) -> int | None:
        """Return how many of its requests may wait; None where that has no bound of its own."""
        terms = self._terms_of(tenant)
        return None if terms is None else terms.max_waiting

    def refusal(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why a request is not let in now, if it is not; nothing is charged."""
        account = self._account(ticket.request.tenant, now_s)
        if account is None:
            return None
        if account.tokens is not None:
            if ticket.cost_tokens > account.tokens.per_minute:
                return _too_large(ticket, account.tokens.per_minute, "minute")
            wait_s = account.tokens.wait_s(ticket.cost_tokens, now_s)
            if wait_s > 0.0:
                return _used_up(ticket.request.tenant, f"its {account.tokens.per_minute} tokens a minute", wait_s)
        if account.requests is not None:
            num_requests = account.num_requests(ticket)
            wait_s = account.requests.wait_s(num_requests, now_s) if num_requests else 0.0
            if wait_s > 0.0:
                return _used_up(ticket.request.tenant, f"its {account.requests.per_minute} requests a minute", wait_s)
        return None if account.budget is None else self._spent(ticket, account.terms, account.budget, now_s)

    def _spent(self, ticket: Ticket, terms: TenantSettings, budget: Budget, now_s: float) -> SageError | None:
        unix_s = self._unix_s_at_zero + now_s
        if ticket.cost_tokens > budget.tokens:
            return _too_large(ticket, budget.tokens, terms.budget_period)
        left = budget.left(unix_s)
        return None if ticket.cost_tokens <= left else _spent(ticket, terms, left, budget.ends_s(unix_s), unix_s)

    def let_ask(self, tenant: str, now_s: float) -> SageError | None:
        """Charge a tenant for one request that takes no tokens, or return why it may ask nothing now."""
        account = self._account(tenant, now_s)
        if account is None or account.requests is None:
            return None
        if (wait_s := account.requests.wait_s(1, now_s)) > 0.0:
            return _used_up(tenant, f"its {account.requests.per_minute} requests a minute", wait_s)
        account.requests.take(1, now_s)
        return None

    def charge(self, ticket: Ticket, now_s: float) -> None:
        """Charge a request that is let in."""
        account = self._account(ticket.request.tenant, now_s)
        if account is None:
            return
        account.num_open += 1
        if account.tokens is not None:
            account.tokens.take(ticket.cost_tokens, now_s)
        if account.requests is not None:
            account.requests.take(account.num_requests(ticket), now_s)
            if (list_id := _list_of(ticket)) is not None:
                account.lists.put(list_id, True)
        if account.budget is not None:
            account.budget.take(ticket.cost_tokens, self._unix_s_at_zero + now_s)

    def settle(self, ticket: Ticket, last: Last | None, now_s: float) -> None:
        """Give back what a request did not need that is over now; None: no engine worked on it to an end.

        A failed one had its prompt worked on, and once its first token came perhaps all of its answer.
        """
        account = self._accounts.get(ticket.request.tenant)
        if account is None:
            return
        account.num_open -= 1
        if account.tokens is not None:
            account.tokens.take(_used_tokens(ticket, last) - ticket.cost_tokens, now_s)
        if account.budget is not None:
            since_s, unix_s = self._unix_s_at_zero + ticket.arrived_s, self._unix_s_at_zero + now_s
            account.budget.settle(ticket.cost_tokens, _used_tokens(ticket, last), since_s, unix_s)

    def num_open(self) -> int:
        """Return how many requests were charged and not settled."""
        return sum(account.num_open for account in self._accounts.values())

    def names(self) -> set[str]:
        """Return the tenants that have terms, or an account."""
        return {*self._terms, *self._accounts}

    def state(self, tenant: str, num_waiting: int, now_s: float) -> TenantState:
        """Return what a tenant may ask for, and what is left of it."""
        terms = self._terms_of(tenant) or TenantSettings(name=tenant)
        account = self._accounts.get(tenant)
        unix_s, budget = self._unix_s_at_zero + now_s, account.budget if account else None
        if budget is None and terms.budget_tokens is not None:
            budget = Budget(terms.budget_tokens, terms.budget_period, unix_s)

        def left(bucket: Bucket | None, per_minute: int | None) -> float | None:
            return None if per_minute is None else float(per_minute) if bucket is None else bucket.level(now_s)

        return TenantState(
            tenant,
            terms.weight,
            terms.tokens_per_minute,
            terms.requests_per_minute,
            terms.max_waiting,
            left(account.tokens if account else None, terms.tokens_per_minute),
            left(account.requests if account else None, terms.requests_per_minute),
            account.num_open if account else 0,
            num_waiting,
            terms.budget_tokens,
            budget.left(unix_s) if budget else None,
            budget.ends_s(unix_s) if budget else None,
        )

    def _terms_of(self, tenant: str) -> TenantSettings | None:
        return (self._terms.get(tenant) or self._terms.get(EVERYBODY)) if self._terms else None

    def _account(self, tenant: str, now_s: float) -> _Account | None:
        account = self._accounts.get(tenant)
        if account is not None:
            return account
        terms = self._terms_of(tenant)
        limits = terms and (terms.tokens_per_minute, terms.requests_per_minute, terms.budget_tokens)
        if terms is None or limits == (None, None, None):
            return None
        if len(self._accounts) >= self._num_kept:
            self._forget(now_s)
        tokens = None if terms.tokens_per_minute is None else Bucket(terms.tokens_per_minute, now_s)
        requests = None if terms.requests_per_minute is None else Bucket(terms.requests_per_minute, now_s)
        budget_tokens, unix_s = terms.budget_tokens, self._unix_s_at_zero + now_s
        budget = None if budget_tokens is None else Budget(budget_tokens, terms.budget_period, unix_s)
        account = self._accounts[tenant] = _Account(terms, tokens, requests, budget)
        return account

    def _forget(self, now_s: float) -> None:
        """Forget accounts that stand where a new one would: it makes no difference."""
        unix_s = self._unix_s_at_zero + now_s
        left = {name: account for name, account in self._accounts.items() if not account.is_full(now_s, unix_s)}
        self._accounts = left
        self._num_kept = max(MAX_FULL, 2 * len(self._accounts))


def _list_of(ticket: Ticket) -> RequestId | None:
    """Return of which list a request is a part."""
    return ticket.request.part_of if isinstance(ticket.request, TextsRequest) else None


def _used_tokens(ticket: Ticket, last: Last | None) -> int:
    if last is None:
        return 0
    if type(last) is Failed:
        return ticket.size.prompt_tokens if ticket.first_s is None else ticket.cost_tokens
    return last.usage.prompt_tokens + last.usage.completion_tokens


def _too_large(ticket: Ticket, tokens: int, period: str) -> InvalidRequest:
    article = "an" if period == "hour" else "a"
    whose = f"tenant {ticket.request.tenant!r} has {tokens} {article} {period}"
    return InvalidRequest(
        f"the request may take {ticket.cost_tokens} tokens, and {whose}",
        "Ask for a shorter answer by max_tokens, or send less at once.",
        param="max_tokens" if ticket.size.answer_tokens else None,
    )


def _used_up(tenant: str, what: str, wait_s: float) -> QuotaExceeded:
    retry_after_s = max(MIN_RETRY_S, wait_s)
    return QuotaExceeded(
        f"tenant {tenant!r} has used up {what}",
        f"Try again in {retry_after_s:.1f} s.",
        retry_after_s=retry_after_s,
    )


def _spent(ticket: Ticket, terms: TenantSettings, left: int, ends_s: float, unix_s: float) -> BudgetSpent:
    tokens, period = terms.budget_tokens, terms.budget_period
    anew = datetime.fromtimestamp(ends_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return BudgetSpent(
        f"tenant {ticket.request.tenant!r} has {max(0, left)} of its {tokens} tokens of this {period} left, and the "
        f"request may take {ticket.cost_tokens}",
        f"Its budget begins anew at {anew}; what open requests do not need is given back before.",
        retry_after_s=max(MIN_RETRY_S, ends_s - unix_s),
    )
