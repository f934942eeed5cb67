"""What engines tell exactly of what they keep: routes believe that, and nothing they would guess."""

from cluster.serving.engines.figures import KeptBlocks
from cluster.serving.engines.port import EngineInfo
from cluster.serving.kept_exactly import COMING_TOKENS, KeptExactly
from cluster.serving.route import Router
from cluster.serving.routes import route_named
from cluster.serving.size import PromptPrefix, TextSizing
from cluster.serving.ticket import Ticket, lane_of, ticket_for
from sage.base.ids import EngineId, RequestId
from sage.base.inference import GenerateRequest, Kind, ModelCard

ONE, OTHER = EngineId("one"), EngineId("other")
PREFIX = PromptPrefix((1, 2, 3), (128, 256, 384))


def told(*changes: KeptBlocks) -> KeptExactly:
    kept = KeptExactly()
    for change in changes:
        kept.told(ONE, change)
    return kept


def test_an_engine_tells_from_its_first_word_until_it_says_that_it_is_over() -> None:
    kept = told(KeptBlocks((1, 2)))
    assert not kept.tells(ONE)
    kept = told(KeptBlocks((1, 2, 3), is_first=True), KeptBlocks(removed=(2,)))
    assert kept.tokens(PREFIX, ONE) == 128
    kept.told(ONE, KeptBlocks((2,)))
    assert kept.tokens(PREFIX, ONE) == 384
    kept.told(ONE, KeptBlocks(is_over=True))
    assert not kept.tells(ONE)
    kept.told(ONE, KeptBlocks((1,)))
    assert not kept.tells(ONE)


def test_what_an_engine_was_just_given_it_will_keep_unless_it_says_otherwise() -> None:
    kept = told(KeptBlocks(is_first=True))
    kept.given(PREFIX, ONE)
    assert kept.tokens(PREFIX, ONE) == 384
    kept.told(ONE, KeptBlocks((1,), (3,)))
    assert kept.tokens(PREFIX, ONE) == 256
    kept.not_worked_off(PREFIX, ONE)
    assert kept.tokens(PREFIX, ONE) == 128


def test_what_it_was_given_long_ago_and_never_told_of_is_not_believed() -> None:
    kept = told(KeptBlocks(is_first=True))
    kept.given(PREFIX, ONE)
    kept.given(PromptPrefix((9,), (COMING_TOKENS + 1,)), ONE)
    assert kept.tokens(PREFIX, ONE) == 0


def router_of_two() -> Router:
    router = Router(route_named("auto", TextSizing()))
    for engine_id in (ONE, OTHER):
        card = ModelCard("m", (Kind.GENERATE,), 100_000)
        router.add(EngineInfo(engine_id, "vllm", "CPU", False, (card,), 8))
    return router


def ticket(name: str) -> Ticket:
    request = GenerateRequest(RequestId(name), "m", "word " * 1_000)
    return ticket_for(request, lane_of(request), 0, 0.0, TextSizing().size(request))


def test_a_route_follows_what_an_engine_dropped_and_what_it_kept_also_after_it_is_changed() -> None:
    router = router_of_two()
    router.saw(ONE, KeptBlocks(is_first=True), 0.0)
    first = ticket("first")
    account = router.account(ONE)
    assert account is not None
    router.charge(account, [first], 0.0)
    hashes = TextSizing().prefix(first.request).hashes
    router.saw(ONE, KeptBlocks(stored=hashes), 0.0)
    again = ticket("again")
    assert router.uncached_tokens(again, account) < 0.2 * again.size.prompt_tokens
    router.saw(ONE, KeptBlocks(removed=hashes[1:]), 0.0)
    assert router.uncached_tokens(again, account) > 0.8 * again.size.prompt_tokens
    router.saw(ONE, KeptBlocks(stored=hashes[1:]), 0.0)
    router.change_route(route_named("prefix", TextSizing()))
    router.charge(account, [ticket("third")], 0.0)
    assert router.uncached_tokens(ticket("fourth"), account) < 0.2 * again.size.prompt_tokens


def test_an_engine_that_comes_back_has_nothing() -> None:
    router = router_of_two()
    router.saw(ONE, KeptBlocks(is_first=True), 0.0)
    account = router.account(ONE)
    assert account is not None
    router.charge(account, [ticket("first")], 0.0)
    router.remove(ONE)
    router.add(account.info)
    again = router.account(ONE)
    assert again is not None
    assert router.uncached_tokens(ticket("again"), again) == ticket("again").size.prompt_tokens
