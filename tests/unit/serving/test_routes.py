"""Routes: which engine gets what."""

from collections import Counter

import pytest

from cluster.serving.engines.port import EngineInfo
from cluster.serving.prefix_index import MAX_HOLDERS, PrefixIndex
from cluster.serving.route import Router
from cluster.serving.routes import ROUTE_NAMES, route_named
from cluster.serving.size import PromptPrefix, TextSizing
from sage.base.errors import UnknownPolicy
from sage.base.ids import EngineId
from sage.base.inference import ChatMessage, ChatRequest, Request, Usage
from tests.unit.serving.arrange import chat, chat_engine, finished, waiting

SYSTEM = "You answer questions about trains. " * 20


class Routed:
    """A router that gives requests to engines at once."""

    def __init__(self, route: str, *engines: EngineInfo) -> None:
        self.router = Router(route_named(route, TextSizing()))
        for engine in engines:
            self.router.add(engine)

    def give(self, request: Request) -> str:
        ticket = waiting(request)
        account = self.router.choose(ticket, 0.0)
        assert account is not None, "an engine has room"
        self.router.charge(account, (ticket,), 0.0)
        self.router.check()
        return account.info.engine_id

    def end(self, engine: str, *ids: str) -> None:
        account = self.router.account(EngineId(engine))
        assert account is not None
        self.router.release(account, [finished(id) for id in ids], 1.0)
        self.router.settle()
        self.router.check()

    def give_and_end(self, request: Request) -> str:
        engine = self.give(request)
        self.end(engine, request.id)
        return engine


def engines(num: int, max_running: int = 64) -> list[EngineInfo]:
    return [chat_engine(f"c{n}", max_running=max_running) for n in range(num)]


def turn(id: str, conversation: str, num_turns: int) -> ChatRequest:
    said = [ChatMessage("system", SYSTEM)]
    for n in range(num_turns):
        said += [ChatMessage("user", f"{conversation} {n} " * 200), ChatMessage("assistant", f"{n} answer " * 100)]
    return ChatRequest(chat(id).id, "chat", tuple(said[:-1]))


def test_round_robin_gives_to_engines_in_turn_whatever_their_work() -> None:
    routed = Routed("round_robin", *engines(3))
    given = [routed.give(chat(f"r{n}", num_characters=100_000 if n % 3 == 0 else 4)) for n in range(9)]
    assert given == ["c0", "c1", "c2"] * 3


def test_least_work_counts_prompts_and_answers_until_they_end() -> None:
    routed = Routed("least_work", *engines(2))
    assert routed.give(chat("long", max_tokens=1000)) == "c0"
    assert [routed.give(chat(f"s{n}", max_tokens=10)) for n in range(5)] == ["c1"] * 5
    routed.end("c0", "long")
    assert routed.give(chat("next")) == "c0"


def test_a_conversation_stays_with_its_engine_and_moves_when_that_is_full_or_gone() -> None:
    routed = Routed("session", *engines(3, max_running=1))
    first = routed.give_and_end(turn("a1", "a", 1))
    other = routed.give(turn("b1", "b", 1))
    assert other != first
    assert routed.give(turn("a2", "a", 2)) == first
    assert routed.give_and_end(turn("a3", "a", 3)) not in (first, other), "it is full"
    assert routed.router.remove(EngineId(first)) is not None
    assert routed.give(turn("a4", "a", 4)) != first


@pytest.mark.parametrize("route", ["prefix", "auto"])
def test_a_conversation_comes_back_to_where_its_prompt_is_cached(route: str) -> None:
    routed = Routed(route, *engines(4))
    at = {name: routed.give(turn(f"{name}1", name, 1)) for name in ("a", "b", "c", "d")}
    assert len(set(at.values())) == 4, "work is spread"
    for num_turns in (2, 3, 4):
        for name in ("a", "b", "c", "d"):
            routed.end(at[name], f"{name}{num_turns - 1}")
            assert routed.give(turn(f"{name}{num_turns}", name, num_turns)) == at[name]


@pytest.mark.parametrize("route", ["prefix", "auto"])
def test_a_beginning_that_all_share_does_not_bring_all_to_one_engine(route: str) -> None:
    routed = Routed(route, *engines(4))
    share = Counter(routed.give(turn(f"r{n}", f"{n}", 1)) for n in range(80))
    assert max(share.values()) <= 1.1 * 20


@pytest.mark.parametrize("route", ["prefix", "auto"])
def test_one_prompt_asked_by_many_at_once_spreads_once_its_engine_is_busy(route: str) -> None:
    routed = Routed(route, *engines(4))
    share = Counter(routed.give(turn(f"r{n}", "same", 2)) for n in range(80))
    assert max(share.values()) <= 1.5 * 20


def test_to_ask_where_a_request_would_go_brings_no_copy_of_its_beginning_nearer() -> None:
    routed = Routed("auto", *engines(2))
    holder = routed.give(turn("r0", "same", 2))
    asked = [routed.router.choose(waiting(turn(f"f{n}", "same", 2)), 0.0) for n in range(200)]
    assert {account.info.engine_id for account in asked if account is not None} == {holder}
    given = [routed.give(turn(f"r{n}", "same", 2)) for n in range(1, 20)]
    assert given[0] == holder
    assert set(given) != {holder}, "what is given counts"


@pytest.mark.parametrize("route", ["prefix", "auto"])
def test_an_engine_that_told_what_it_dropped_is_preferred_no_more(route: str) -> None:
    routed = Routed(route, *engines(2))
    first = routed.give_and_end(turn("a1", "a", 2))
    again = waiting(turn("a2", "a", 2))
    router = routed.router
    assert (router.affinity_tokens(again) or 0) > 0
    for number in range(3):
        other = waiting(turn(f"b{number}", "b", 2))
        account = router.account(EngineId(first))
        assert account is not None
        router.charge(account, (other,), 0.0)
        routed.end(first, f"b{number}")
        router.route.answered(other, Usage(other.size.prompt_tokens, 1, 64))
    assert router.affinity_tokens(waiting(turn("a3", "a", 2))) == 0, "more was dropped than has come since"


def test_a_holder_without_room_is_passed_over() -> None:
    routed = Routed("auto", *engines(2, max_running=1))
    first = routed.give(turn("a1", "a", 1))
    assert routed.give(turn("a2", "a", 2)) != first


@pytest.mark.parametrize("name", ROUTE_NAMES)
def test_each_known_name_gives_the_route_of_that_name(name: str) -> None:
    assert route_named(name, TextSizing()).name == name


def test_an_unknown_route_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownPolicy, match="Did you mean 'least_work'") as caught:
        route_named("leastwork", TextSizing())
    assert caught.value.param == "route"


def test_the_index_knows_who_has_how_much_from_the_front() -> None:
    index = PrefixIndex()
    whole = PromptPrefix((1, 2, 3), (10, 20, 30))
    index.add(whole, EngineId("a"))
    index.add(PromptPrefix((1, 2, 9), (10, 20, 30)), EngineId("b"))
    assert index.cached_tokens(whole) == {"a": 30, "b": 20}
    assert index.cached_tokens(PromptPrefix((7,), (10,))) == {}


def test_the_index_is_bounded_in_blocks_and_in_holders_of_one() -> None:
    index = PrefixIndex(max_blocks=100)
    for n in range(5_000):
        index.add(PromptPrefix((0, n + 1), (10, 20)), EngineId(f"e{n}"))
    assert len(index) <= 200
    assert len(index.cached_tokens(PromptPrefix((0,), (10,)))) <= MAX_HOLDERS
