"""The control plane: every generation and embedding of streams and of HTTP is ordered, placed and ended here.

A machine: events in, commands out. Knows nothing of sockets, threads, clocks or who asked.

    waiting --pick--> running --engine says ended--> answered
       |                 |
       +--> answered     +--> answered, and abandoned: the engine holds its slot until it says that it ended;
    (cancelled, past its deadline, engine lost)         an engine that never does is given up

What engines give back before its first token, for an urgent one, waits again (`preemption`).
"""

from collections.abc import Iterable

from cluster.runtime.states import TenantState
from cluster.serving.abandoned import Abandoned
from cluster.serving.admission import Offer, is_by_deadline
from cluster.serving.arriving import Arriving
from cluster.serving.batch import Batcher
from cluster.serving.deadlines import Deadlines, deadline_exceeded
from cluster.serving.decisions import Decisions
from cluster.serving.events import (
    Cancelled,
    Command,
    EngineDown,
    EngineEnded,
    EngineRetired,
    EngineSeen,
    EngineStarting,
    EngineUp,
    Event,
    FirstTokens,
    PolicyChanged,
    Submitted,
    TimePassed,
)
from cluster.serving.gate import Gate
from cluster.serving.patience import USUAL, Patience
from cluster.serving.plane_check import check_plane
from cluster.serving.plane_view import plane_view, tenant_states
from cluster.serving.policy import Policy, policy_named
from cluster.serving.preemption import BATCH, Preemption
from cluster.serving.queue import WaitingQueue
from cluster.serving.quota import Quotas
from cluster.serving.retiring import Retiring
from cluster.serving.route import Router
from cluster.serving.routes import route_named
from cluster.serving.size import Sizing, TextSizing
from cluster.serving.statistics import PlaneView, Totals
from cluster.serving.ticket import Lane, Ticket, engine_of, lane_of
from cluster.serving.wakeups import WakeUps
from sage.base.errors import EngineLost, InvalidRequest, RequestCancelled, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Last, ModelCard, Request
from sage.base.settings import TenantSettings

MAX_WAITING = 10_000  # at 20 us a decision, a full queue costs 0.2 s of the plane's time


class Plane:
    """Decides which engine works on which request, when; each request let in is answered exactly once.

    A decision costs O(log waiting + log engines). Driven by one shell at a time.
    """

    def __init__(
        self,
        known_models: Iterable[str] = (),
        *,
        policy: str = "hybrid",
        route: str = "auto",
        admission: str = "none",
        window: str = "fixed",
        max_waiting: int = MAX_WAITING,
        tenants: Iterable[TenantSettings] = (),
        unix_s_at_zero: float = 0.0,
        sizing: Sizing | None = None,
        patience: Patience = USUAL,
    ) -> None:
        """`known_models` are refused with NoEngine, not UnknownModel, while nothing serves them. `sizing` measures
        requests; by default, by their text. `admission` "deadline" refuses what would begin after it is due, by
        `patience`. `window` "adaptive" keeps prompts here that an engine cannot begin with yet. `tenants`: quotas,
        weights and budgets, in periods by monotonic time and `unix_s_at_zero`. Raises UnknownPolicy.
        """
        self._sizing: Sizing = sizing if sizing is not None else TextSizing()
        self._router = Router(route_named(route, self._sizing), window=window)
        self._quotas = Quotas(tenants, unix_s_at_zero)
        self._sheds = is_by_deadline(admission)
        weight, is_summed = self._quotas.weight, self._sheds or not self._quotas.are_none
        self._queue = WaitingQueue(self._policy_named(policy), weight, is_summed=is_summed, patience=patience)
        self._batcher = Batcher(self._queue, self._router)
        self._offer = Offer(known_models, self._router)
        parts = self._offer, self._queue, self._router, self._quotas
        self._gate = Gate(*parts, admission=admission, max_waiting=max_waiting)
        self.questions = self._gate.questions
        self._deadlines = Deadlines()
        self._arriving = Arriving(self._sizing, patience)
        self._totals = Totals()
        self._totals.ordered_by(self.policy, self.route)
        self._running: dict[RequestId, Ticket] = {}
        self._abandoned = Abandoned()
        self._preemption = Preemption(self._queue, self._router)
        self._retiring = Retiring()
        self._wakeups = WakeUps(self._deadlines, self._abandoned, self._preemption.coming, self._retiring)

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """Return what is to be done about `event`, in order; `now_s` is monotonic."""
        orders = Decisions(now_s)
        if self._wakeups.may_be_due:
            self._expire(orders)
        match event:
            case EngineEnded():  # what comes most stands first: to say no to a struct takes 0.2 us
                self._engine_ended(event.engine_id, event.ended, orders)
            case Submitted():
                self._submitted(event.requests, orders)
            case FirstTokens():
                self._first_tokens(event.engine_id, event.request_ids, orders)
            case Cancelled(request_ids):
                self._cancelled(request_ids, orders)
            case EngineStarting(engine_id, models):
                self._offer.starting(engine_id, models)
            case EngineUp():
                self._engine_up(event, orders)
            case EngineDown():
                self._engine_down(event, orders)
            case EngineRetired(engine_id, within_s):
                self._retiring.add(engine_id, account := self._router.retire(engine_id), now_s + within_s)
                self._wakeups.may_be_due = True
                orders.look_at(account.lanes if account is not None else ())  # nothing waits for it any more
            case EngineSeen(engine_id, said):
                orders.look_at(self._queue.waiting_among(self._router.saw(engine_id, said, now_s)))
            case PolicyChanged(policy, route):
                if policy is not None:
                    self._queue.change_policy(self._policy_named(policy))
                if route is not None:
                    self._router.change_route(route_named(route, self._sizing))
                self._totals.ordered_by(self.policy, self.route)
            case TimePassed():
                self._wakeups.woken()
        if orders.lanes:
            self._assign(orders)
        return self._commands(orders) if self._wakeups.may_be_due else orders.commands()

    def models(self) -> tuple[ModelCard, ...]:
        """Return the models served now, each once, in order of their engines."""
        return self._router.models()

    @property
    def policy(self) -> str:
        return self._queue.policy.name

    @property
    def route(self) -> str:
        return self._router.route.name

    def view(self) -> PlaneView:
        """Return the plane's numbers; costs O(waiting)."""
        parts = self._queue, self._router, self._gate, self._offer, self._totals
        return plane_view(*parts, num_running=len(self._running), num_taken_back=self._preemption.num_taken_back)

    def tenants(self, now_s: float) -> tuple[TenantState, ...]:
        """Return what tenants may ask for, and have asked for; costs O(waiting)."""
        return tenant_states(self._quotas, self._queue, now_s)

    def _policy_named(self, name: str) -> Policy:
        policy = policy_named(name, self._router.affinity_tokens, self._quotas.weight, favours_sparse=not self._sheds)
        self._router.favours_sparse = policy.favours_sparse
        return policy

    def _submitted(self, requests: tuple[Request, ...], orders: Decisions) -> None:
        for request in requests:
            lane = lane_of(request)
            if (error := self._refusal(request, lane, orders) or self._let_in(request, lane, orders)) is not None:
                self._refuse(request, error, orders)

    def _refusal(self, request: Request, lane: Lane, orders: Decisions) -> SageError | None:
        if request.id in self._queue or request.id in self._running or request.id in self._abandoned:
            do = "Give each request an id of its own."
            return InvalidRequest(f"a request with the id {request.id!r} is still being worked on", do, param="id")
        invalid = self._gate.invalid(request, lane)
        if invalid is not None or not self._gate.is_full():
            return invalid
        self._assign(orders)
        return self._gate.no_room(lane, orders.now_s)

    def _let_in(self, request: Request, lane: Lane, orders: Decisions) -> SageError | None:
        ticket = self._arriving.ticket(request, lane, orders.now_s)
        if not self._gate.is_wide_open:
            if self._gate.must_look(ticket):
                self._assign(orders)
                if (error := self._gate.no_room(lane, orders.now_s)) is not None:  # what comes back has a place by now
                    return error
            if (error := self._gate.turned_away(ticket, orders.now_s)) is not None:
                return error
        self._arriving.let_in()
        self._gate.let_in(ticket, orders.now_s)
        self._queue.add(ticket)
        if self._deadlines.add(ticket):
            self._wakeups.may_be_due = True
        orders.lanes[lane] = None
        if self._gate.is_over_full():
            self._assign(orders)
        return None

    def _refuse(self, request: Request, error: SageError, orders: Decisions) -> None:
        failed = Failed(request.id, Failure.of(error))
        self._totals.ended(request, lane_of(request), failed, is_known=self._offer.knows(request.model))
        orders.ended.append(failed)

    def _assign(self, orders: Decisions) -> None:
        """Give engines what they have room for, from the lanes in which something changed."""
        now_s, running = orders.now_s, self._running
        was_idle = not running
        for assignment in self._batcher.assign(orders.lanes, now_s):
            for ticket in assignment.tickets:
                running[ticket.request.id] = ticket
                if ticket.request.service_class is BATCH:
                    self._preemption.given(ticket)
            self._totals.picked(assignment, now_s)
            if was_idle:
                self._gate.goes_on(now_s)
            orders.dispatches.append(assignment.dispatch())
        if taken_back := self._preemption.choose(orders.lanes, self._gate.max_waiting, now_s):
            orders.take_back(taken_back)
            self._wakeups.may_be_due = True
        orders.lanes.clear()

    def _answer(self, ticket: Ticket, last: Last, orders: Decisions) -> None:
        assert not ticket.is_answered, ticket
        ticket.is_answered = True
        self._deadlines.answered(ticket)
        self._totals.ended(ticket.request, ticket.lane, last, is_known=True)
        orders.ended.append(last)

    def _fail(self, ticket: Ticket, failure: Failure, orders: Decisions) -> None:
        if ticket.engine_id is None:
            self._gate.came_to_nothing(ticket, orders.now_s)
        self._answer(ticket, Failed(ticket.request.id, failure), orders)

    def _cancelled(self, request_ids: tuple[RequestId, ...], orders: Decisions) -> None:
        for request_id in request_ids:
            ticket = self._queue.remove(request_id) or self._abandon(request_id, orders)
            if ticket is not None:
                error = RequestCancelled("the request was cancelled by whoever asked")
                self._fail(ticket, Failure.of(error), orders)

    def _expire(self, orders: Decisions) -> None:
        """Answer what is past its deadline, and give up engines that do not stop when told to."""
        for ticket in self._deadlines.due(orders.now_s):
            request = ticket.request
            where = "waited for an engine" if self._queue.remove(request.id) is not None else "ran"
            if where == "ran":
                self._abandon(request.id, orders)
            self._fail(ticket, Failure.of(deadline_exceeded(request, where)), orders)
        orders.end(self._wakeups.silent(orders.now_s))

    def _abandon(self, request_id: RequestId, orders: Decisions) -> Ticket | None:
        """Have the engine stop a running request; its slot is free once the engine says so. None if it does not run."""
        ticket = self._running.pop(request_id, None)
        if ticket is None:
            return None
        self._preemption.goes_on(request_id)
        self._abandoned.add(ticket, orders.now_s)
        self._wakeups.may_be_due = True
        orders.abort(engine_of(ticket), request_id)
        return ticket

    def _first_tokens(self, engine_id: EngineId, request_ids: tuple[RequestId, ...], orders: Decisions) -> None:
        account, now_s = self._router.account(engine_id), orders.now_s
        if account is None:
            return
        for request_id in request_ids:
            if (ticket := account.held.get(request_id)) is not None:
                self._preemption.goes_on(request_id)
                if self._router.saw_first_token(account, ticket, now_s):
                    orders.look_at(self._queue.waiting_among(account.lanes))
                self._gate.began(ticket, now_s)

    def _engine_ended(self, engine_id: EngineId, ended: tuple[Last, ...], orders: Decisions) -> None:
        account = self._router.account(engine_id)
        if account is None:  # it was given up before; what it held was answered then
            return
        now_s = orders.now_s
        for ticket, last in self._router.release(account, ended, now_s):
            if self._preemption.comes_back(ticket, last):
                self._wait_again(ticket)
                continue
            self._gate.ended(ticket, last, now_s)
            if type(last) is not Failed:
                usage = last.usage
                if ticket.request.origin is not None:
                    self._arriving.ended(ticket, now_s)
                self._router.route.answered(ticket, usage)
                self._queue.policy.ended(ticket, usage.prompt_tokens + usage.completion_tokens)
            if not self._abandoned.tickets or self._abandoned.pop(last.request_id) is None:
                del self._running[last.request_id]
                self._answer(ticket, last, orders)
        orders.look_at(account.lanes if account.slots is None else account.lanes_to_look_at(self._queue.waiting_among))

    def _wait_again(self, ticket: Ticket) -> None:
        """Let a request that an engine gave back wait where it stood; nobody is charged for what was not done."""
        del self._running[ticket.request.id]
        self._queue.policy.ended(ticket, 0)
        self._queue.add(ticket)

    def _engine_up(self, event: EngineUp, orders: Decisions) -> None:
        self._offer.started(event.info.engine_id, (card.name for card in event.info.models))
        self._totals.engine_up(event.info)
        orders.look_at(self._queue.waiting_among(self._router.add(event.info).lanes))
        self._fail_unserved(None, orders)

    def _engine_down(self, event: EngineDown, orders: Decisions) -> None:
        self._totals.engine_down(event.engine_id, event.failure.what)
        was_starting = self._offer.started(event.engine_id)
        if event.comes_back:
            self._offer.starting(event.engine_id, event.comes_back)
        if was_starting:
            self._fail_unserved(event.failure, orders)
            return
        self._retiring.remove(event.engine_id)
        account = self._router.remove(event.engine_id)
        if account is None:
            return
        lost = Failure.of(EngineLost(f"engine {event.engine_id!r} was lost: {event.failure.what}", event.failure.do))
        for request_id, ticket in account.held.items():
            self._preemption.goes_on(request_id)
            self._gate.came_to_nothing(ticket, orders.now_s)
            if self._abandoned.pop(request_id) is None:
                del self._running[request_id]
                self._fail(ticket, lost, orders)
        self._fail_unserved(None, orders)
        orders.look_at(self._queue.waiting_among(account.lanes))

    def _fail_unserved(self, failure: Failure | None, orders: Decisions) -> None:
        """Fail what waits for what nothing serves any more, with `failure` or with why nothing does."""
        for lane in self._queue.lanes():
            if not self._offer.is_served(lane):
                why = failure or Failure.of(self._offer.unserved(lane))
                for ticket in self._queue.take_all(lane, orders.now_s):
                    self._fail(ticket, why, orders)

    def _commands(self, orders: Decisions) -> list[Command]:
        orders.end(self._retiring.over(orders.now_s))
        commands, wake_at = orders.commands(), self._wakeups.order()
        return commands if wake_at is None else [*commands, wake_at]

    def check(self) -> None:
        """Assert what always holds between two events; for tests: costs O(everything)."""
        parts = self._queue, self._router, self._gate, self._offer, self._quotas
        check_plane(*parts, preemption=self._preemption, running=self._running, abandoned=self._abandoned.tickets)
