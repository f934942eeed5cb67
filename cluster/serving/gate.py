"""Whether a request that arrives may wait, and if not, why and when to come again. Knows nothing of ids or answers."""

import math

from cluster.serving.admission import Offer, is_by_deadline
from cluster.serving.deadlines import deadline_exceeded, never_in_time
from cluster.serving.drain import DrainRate
from cluster.serving.forecast import Forecast
from cluster.serving.preference import Preference, most_tokens
from cluster.serving.question_gate import QuestionGate
from cluster.serving.queue import WaitingQueue
from cluster.serving.quota import Quotas
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket
from cluster.serving.whole_answers import WholeAnswers
from sage.base.errors import Overloaded, QuotaExceeded, SageError
from sage.base.inference import TEXT_KINDS, Failed, Last, Request

MIN_RETRY_S = 0.1


class Gate:
    """Reads queue, offer and engines; counts how fast engines work off what waits."""

    def __init__(
        self,
        offer: Offer,
        queue: WaitingQueue,
        router: Router,
        quotas: Quotas,
        *,
        admission: str,
        max_waiting: int,
    ) -> None:
        """Raises UnknownPolicy where there is no such admission."""
        self.is_by_deadline = is_by_deadline(admission)
        self.max_waiting = max_waiting
        self.forecast = Forecast(queue, router)
        self._offer = offer
        self._queue = queue
        self._router = router
        self._quotas = quotas
        self.questions = QuestionGate(offer, quotas)
        self._has_terms = not quotas.are_none
        self.is_wide_open = not self.is_by_deadline and not self._has_terms  # `turned_away` turns nobody away
        self._drain_rate = DrainRate()
        self._preference = Preference()
        self._whole: dict[Lane, WholeAnswers] = {}

    @property
    def admission(self) -> str:
        return "deadline" if self.is_by_deadline else "none"

    def is_full(self) -> bool:
        return len(self._queue) + self._queue.num_reserved >= self.max_waiting

    def is_over_full(self) -> bool:
        """Say whether one more waits than may, and an engine is to take one at once."""
        return len(self._queue) + self._queue.num_reserved > self.max_waiting

    def goes_on(self, now_s: float) -> None:
        """Note that an engine is given something while none of them had anything before."""
        self._drain_rate.goes_on(now_s)

    def let_in(self, ticket: Ticket, now_s: float) -> None:
        """Note that a request may wait."""
        self._router.route.came(ticket)
        if self.is_by_deadline:
            self._preference.let_in(ticket)
        if self._has_terms:
            self._quotas.charge(ticket, now_s)

    def began(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of a ticket came."""
        if self.is_by_deadline:
            self.forecast.began(ticket, now_s)
            if ticket.first_s == now_s:  # said once more it began before; texts have none
                self._preference.began(ticket, now_s)

    def ended(self, ticket: Ticket, last: Last, now_s: float) -> None:
        """Note that an engine is done with a request: what it is given while it fills up says nothing of its speed."""
        self._drain_rate.left(1, now_s)
        if self.is_by_deadline:
            self.forecast.ended(ticket, now_s)
            tokens = None if type(last) is Failed else last.usage.completion_tokens
            self._preference.over(ticket, tokens, now_s)
            if tokens and ticket.first_s is not None:
                self._whole.setdefault(ticket.lane, WholeAnswers()).answered(tokens, now_s - ticket.first_s, now_s)
        if self._has_terms:
            self._quotas.settle(ticket, last, now_s)

    def came_to_nothing(self, ticket: Ticket, now_s: float) -> None:
        """Note that a request is over that no engine worked on to its end."""
        if self.is_by_deadline and ticket.first_s is not None:
            self._preference.over(ticket, None, now_s)
        self._quotas.settle(ticket, None, now_s)

    def invalid(self, request: Request, lane: Lane) -> SageError | None:
        """Return why nothing could ever answer the request."""
        if not self._offer.is_served(lane):
            return self._offer.unserved(lane)
        if (invalid := self._offer.invalid(request)) is not None:
            return invalid
        if request.timeout_s is not None and not request.timeout_s > 0.0:
            return deadline_exceeded(request, "arrived")
        return None

    def no_room(self, lane: Lane, now_s: float) -> SageError | None:
        """Return why there is no room to wait; None where, full as the queue is, an engine takes a request at once."""
        if not self.is_full() or self._router.takes_at_once(lane):
            return None
        retry_after_s = self._drain_rate.retry_after_s(len(self._queue), now_s)
        return Overloaded(
            f"{len(self._queue)} requests wait for engines already, as many as may",
            f"Try again in {retry_after_s:.1f} s, or start more engines.",
            retry_after_s=retry_after_s,
        )

    def must_look(self, ticket: Ticket) -> bool:
        """Say whether `turned_away` is to be asked with all engines given what they have room for."""
        return self.is_by_deadline or self._quotas.max_waiting(ticket.request.tenant) is not None

    def turned_away(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why a request that could be answered is not let in now: its tenant's quota, or that it is too late."""
        error = self._quotas.refusal(ticket, now_s) or self._too_many(ticket, now_s)
        if error is not None or not self.is_by_deadline:
            return error
        return self._texts_too_late(ticket, now_s) if ticket.lane.kind in TEXT_KINDS else self._too_late(ticket, now_s)

    def _too_many(self, ticket: Ticket, now_s: float) -> SageError | None:
        tenant = ticket.request.tenant
        max_waiting = self._quotas.max_waiting(tenant)
        if max_waiting is None or self._queue.num_waiting_of(tenant) < max_waiting:
            return None
        if self._router.takes_at_once(ticket.lane):
            return None
        retry_after_s = self._drain_rate.retry_after_s(max_waiting, now_s)
        return QuotaExceeded(
            f"{max_waiting} requests of tenant {tenant!r} wait for engines already, as many as may",
            f"Try again in {retry_after_s:.1f} s.",
            retry_after_s=retry_after_s,
        )

    def _too_late(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why a request is not let in that would, as far as is known, begin after it is due."""
        ticket.forecast_s = self.forecast.first_token_in_s(ticket, now_s)
        caution = self.forecast.caution * self._preference.came(ticket)
        if self._queue.policy.is_by_work:
            caution = max(caution, self._preference.came_to_work(ticket, now_s))
        forecast_s = None if ticket.forecast_s is None else caution * ticket.forecast_s
        due_in_s = ticket.due_s - now_s
        if forecast_s is None:
            return None
        if forecast_s <= due_in_s:
            return self._ends_too_late(ticket, now_s) or self._makes_late(ticket, now_s)
        return _too_late("the first token", forecast_s, due_in_s)

    def _ends_too_late(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why a request is not let in that begins in time, but of which not even a short answer would be whole
        by its deadline; coming again helps only where waiting is what takes too long."""
        whole = self._whole.get(ticket.lane)
        if whole is None or ticket.deadline_s == math.inf or ticket.forecast_s is None:
            return None
        least_s, left_s = whole.least_s(most_tokens(ticket.request), now_s), ticket.deadline_s - now_s
        if least_s > left_s:
            return never_in_time(ticket.request, least_s)
        return _too_late("a short answer", ticket.forecast_s + least_s, left_s) if least_s else None

    def _texts_too_late(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why texts are not let in that would, as far as is known, be answered after they are due."""
        forecast_s, due_in_s = self.forecast.texts_in_s(ticket, now_s), ticket.due_s - now_s
        return None if forecast_s is None else _too_late("the answer", forecast_s, due_in_s)

    def _makes_late(self, ticket: Ticket, now_s: float) -> SageError | None:
        """Return why a request is not let in that would begin in time, but before others that then would not."""
        late_s = self.forecast.delays_others_s(ticket, now_s)
        if late_s <= 0.0:
            return None
        retry_after_s = max(MIN_RETRY_S, late_s)
        return Overloaded(
            f"requests that wait already would be {late_s:.1f} s late",
            f"Try again in {retry_after_s:.1f} s, allow more time, or start more engines.",
            retry_after_s=retry_after_s,
        )


def _too_late(what: str, forecast_s: float, due_in_s: float) -> Overloaded | None:
    if forecast_s <= due_in_s:
        return None
    retry_after_s = max(MIN_RETRY_S, forecast_s - due_in_s)
    return Overloaded(
        f"{what} would come in {forecast_s:.1f} s and is due in {due_in_s:.1f} s",
        f"Try again in {retry_after_s:.1f} s, allow more time, or start more engines.",
        retry_after_s=retry_after_s,
    )
