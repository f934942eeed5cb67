"""The plane under events drawn one after the other, so that a failure shrinks to the few that bring it about.

What may happen, and what is checked after each event, is of the random world beside this; here more is held against it:
engines that do not stop when told to, how many requests of a tenant are let in, and how long the least urgent may wait.
"""

from collections import Counter
from random import Random

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.serving.abandoned import PATIENCE_S
from cluster.serving.events import EngineEnded, EngineUp, Event, Submitted, TimePassed
from cluster.serving.plane import Plane
from cluster.serving.policy import FLOOR_SHARES
from cluster.serving.quota import MINUTE_S
from sage.base.ids import EngineId
from sage.base.inference import ServiceClass
from sage.base.settings import TenantSettings
from tests.unit.serving.arrange import BATCH, INTERACTIVE, CheckedPlane, chat, chat_engine, finished
from tests.unit.serving.test_plane_properties import World

REQUESTS_A_MINUTE = 12
TENANTS = (TenantSettings(name="t1", requests_per_minute=REQUESTS_A_MINUTE), TenantSettings(name="t2", max_waiting=2))
LIMITED = "t1"


class PlaneMachine(RuleBasedStateMachine):
    """Each rule is something that may happen; what it needs to choose is drawn, and shrinks."""

    @initialize(rng=st.randoms(use_true_random=False), seed=st.integers(0, 1_000))
    def begin(self, rng: Random, seed: int) -> None:
        self.world = World(seed)
        self.world.rng = rng
        world = self.world
        world.plane = Plane(
            ("chat", "embed"), policy=world.policy, route="auto", max_waiting=world.max_waiting, tenants=TENANTS
        )
        self.let_in_s: list[float] = []

    def happens(self, event: Event | None) -> None:
        if event is not None:
            self.world.handle(event)

    @rule()
    def requests_come(self) -> None:
        event = self.world.submit()
        known = self.in_work()
        self.happens(event)
        new = self.in_work() - known
        self.let_in_s += [self.world.now_s] * sum(tenant == LIMITED for _, tenant in new)

    @rule()
    def requests_are_cancelled(self) -> None:
        self.happens(self.world.cancel())

    @rule()
    def an_engine_starts(self) -> None:
        self.happens(self.world.engine_starts())

    @rule()
    def an_engine_is_up(self) -> None:
        self.happens(self.world.engine_is_up())

    @rule()
    def an_engine_is_lost(self) -> None:
        self.happens(self.world.engine_is_lost())

    @rule()
    def an_engine_retires(self) -> None:
        self.happens(self.world.engine_retires())

    @rule()
    def an_engine_ends_some(self) -> None:
        self.happens(self.world.engine_ends_some())

    @rule()
    def first_tokens_come(self) -> None:
        self.happens(self.world.first_tokens_come())

    @rule()
    def the_policy_or_route_is_changed(self) -> None:
        self.happens(self.world.change_policy())

    @rule()
    def time_passes(self) -> None:
        self.happens(self.world.time_passes())

    @precondition(lambda self: self.world.plane._abandoned.tickets)
    @rule()
    def an_engine_does_not_stop_when_told_to(self) -> None:
        """Let the patience with all that were told pass: none of what they were told to stop may be left."""
        told = set(self.world.plane._abandoned.tickets)
        self.world.now_s += PATIENCE_S
        self.happens(TimePassed())  # whose deadline passes by that is told only now
        assert not told & self.world.plane._abandoned.tickets.keys(), "silent engines are given up"

    @invariant()
    def no_tenant_is_let_in_beyond_its_quota(self) -> None:
        times_s = self.let_in_s
        for first, from_s in enumerate(times_s):
            for last in range(first, len(times_s)):
                most = REQUESTS_A_MINUTE * (1.0 + (times_s[last] - from_s) / MINUTE_S)
                assert last - first + 1 <= most + 1e-6, "the budget is never exceeded"

    def in_work(self) -> set[tuple[str, str]]:
        held = [request for requests in self.world.held.values() for request in requests.values()]
        return {(request.id, request.tenant) for request in (*self.world.waiting.values(), *held)}

    def teardown(self) -> None:
        world = self.world
        world.settle()
        assert world.answered == world.submitted, "each is answered once"
        accounts = list(world.plane._router)
        assert not accounts, "every account was closed"


TestPlaneMachine = PlaneMachine.TestCase
TestPlaneMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None, derandomize=True)


@given(
    policy=st.sampled_from(("priority", "hybrid")),
    answers=st.lists(st.integers(1, 800), min_size=80, max_size=80),
    own=st.integers(1, 400),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_least_urgent_waits_for_no_more_urgent_tokens_than_its_floor_grants(
    policy: str, answers: list[int], own: int
) -> None:
    """A class is owed its share of each token that goes to a more urgent one: once that is what its head costs, it is
    its turn. While it waits, there are always two more urgent ones."""
    plane = CheckedPlane(Plane(("chat",), policy=policy, max_waiting=1_000))
    plane.handle(EngineUp(chat_engine(max_running=1)))
    plane.handle(Submitted((chat("running", INTERACTIVE),)))
    plane.handle(Submitted((chat("batch", BATCH, max_tokens=own),)))
    cost = {f"i{n}": 11 + answer for n, answer in enumerate(answers)}
    served, passed_tokens = "running", 0
    for number, answer in enumerate(answers):
        plane.handle(Submitted((chat(f"i{number}", INTERACTIVE, max_tokens=answer),)))
        if number < 2:
            continue
        plane.handle(EngineEnded(EngineId("c1"), (finished(served, "c1"),)))
        served = next(iter(plane.plane._running))
        if served == "batch":
            break
        passed_tokens += cost[served]
    share = FLOOR_SHARES[ServiceClass.BATCH]
    assert passed_tokens <= (11 + own) / share + max(cost.values())


def test_the_stateful_world_reaches_what_it_is_about() -> None:
    """Silent engines, quotas and losses all come up within a few runs of the random world with these tenants."""
    outcomes: Counter[str] = Counter()
    for seed in range(12):
        machine = PlaneMachine()
        machine.begin(Random(seed), seed)
        rules = (machine.requests_come, machine.requests_come, machine.an_engine_starts, machine.an_engine_is_up)
        for _ in range(60):
            machine.world.rng.choice((*rules, machine.requests_are_cancelled, machine.an_engine_ends_some))()
            machine.no_tenant_is_let_in_beyond_its_quota()
        outcomes["abandoned"] += len(machine.world.plane._abandoned.tickets)
        outcomes.update(dict.fromkeys((e.outcome for e in machine.world.plane.view().ended), 1))
        machine.teardown()
    assert outcomes["abandoned"] > 0
    assert outcomes["SAGE-2208"] > 0, outcomes
