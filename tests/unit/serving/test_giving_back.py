"""An urgent request gets another's place where it gains more by it than is thrown away."""

import pytest

from cluster.serving.account import EngineAccount
from cluster.serving.giving_back import NUM_LOOKED_AT, best_to_take_back
from cluster.serving.route import Router
from cluster.serving.ticket import Ticket
from sage.base.ids import EngineId
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat, chat_engine, waiting

URGENT = waiting(chat("i", INTERACTIVE, num_characters=4), now_s=100.0)


class Engines:
    """Two engines that work off 100 prompt tokens a second, and what they are given at 100 s."""

    def __init__(self, *, max_running: int = 8) -> None:
        self.router = Router()
        for name in ("c1", "c2"):
            account = self.router.add(chat_engine(name, max_running=max_running))
            for tokens in (100, 200, 300, 400) * 8:
                account.latency.saw_first_token(tokens, 0, tokens / 100)

    def given(self, engine: str, id: str, prompt_s: float) -> Ticket:
        """Give an engine a prompt that it will take `prompt_s` for."""
        ticket = waiting(chat(id, BATCH, num_characters=round(400 * prompt_s)))
        account = self.router.account(EngineId(engine))
        assert account is not None
        self.router.charge(account, (ticket,), 100.0)
        return ticket

    def best(self, *given: Ticket, now_s: float = 100.0) -> Ticket | None:
        return best_to_take_back(URGENT, given, self.router, now_s)


def test_what_is_not_begun_gives_place_where_both_engines_are_busy_for_long() -> None:
    engines = Engines()
    engines.given("c2", "other", 20.0)
    begun, last = engines.given("c1", "begun", 12.0), engines.given("c1", "last", 8.0)
    assert engines.best(last, begun, now_s=110.0) is last


def test_what_is_mostly_worked_off_stays() -> None:
    engines = Engines()
    engines.given("c2", "other", 20.0)
    begun = engines.given("c1", "begun", 20.0)
    assert engines.best(begun, now_s=104.0) is begun
    assert engines.best(begun, now_s=114.0) is None


def test_nothing_gives_place_where_another_engine_is_done_sooner() -> None:
    engines = Engines()
    engines.given("c1", "long", 30.0)
    last = engines.given("c1", "last", 5.0)
    engines.given("c2", "short", 6.0)
    assert engines.best(last) is None


def test_who_comes_in_time_anyway_waits() -> None:
    engines = Engines()
    last = engines.given("c1", "last", 0.5)
    engines.given("c2", "other", 0.5)
    assert engines.best(last) is None


def test_where_a_sequence_would_have_to_end_the_last_that_was_given_gives_place() -> None:
    engines = Engines(max_running=1)
    last = engines.given("c1", "last", 0.5)
    engines.given("c2", "other", 0.5)
    assert engines.best(last) is last


class CountingRouter(Router):
    """Counts at how many engines was looked for what of a prompt they have cached."""

    num_looked = 0

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        self.num_looked += 1
        return super().uncached_tokens(ticket, account)


@pytest.mark.parametrize("has_short", [False, True])
def test_of_many_engines_those_with_the_fewest_prompts_are_looked_at(has_short: bool) -> None:
    engines = Engines()
    engines.router = router = CountingRouter(window="adaptive")
    for n in range(200):
        account = router.add(chat_engine(f"c{n}", max_running=8))
        for tokens in (100, 200, 300, 400) * 8:
            account.latency.saw_first_token(tokens, 0, tokens / 100)
        engines.given(f"c{n}", f"r{n}", 83.0 if n == 130 and has_short else 120.0 + n)
    last = engines.given("c0", "last", 30.0)
    assert router.pick(last.lane) is None
    gives_place = engines.best(last)
    assert gives_place is (None if has_short else last)
    assert router.num_looked <= NUM_LOOKED_AT + 1
