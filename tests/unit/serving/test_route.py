"""The router: accounts of engines, and the pick."""

from random import Random

import pytest

from cluster.serving.engines.port import EngineInfo
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket
from cluster.serving.window import BEGIN_TOKENS
from sage.base.ids import EngineId
from sage.base.inference import Kind, ModelCard, Request
from tests.unit.serving.arrange import CHAT_CARD, EMBED_CARD, chat, chat_engine, embed, embed_engine, finished, waiting

CHAT = Lane("chat", Kind.CHAT)


def ticket(request: Request) -> Ticket:
    return waiting(request)


def test_cost_is_a_token_for_four_characters_and_the_longest_answer() -> None:
    assert waiting(chat("a", num_characters=400, max_tokens=50)).cost_tokens == 151
    assert waiting(chat("a", num_characters=0, max_tokens=None)).cost_tokens == 257
    assert waiting(embed("a", 3)).cost_tokens == 4


@pytest.mark.parametrize("seed", range(10))
def test_the_pick_is_the_least_loaded_engine_with_room_as_a_full_scan_finds_it(seed: int) -> None:
    rng = Random(seed)
    router = Router()
    held: list[tuple[EngineId, Ticket]] = []
    for number in range(400):
        if number < 5:
            router.add(chat_engine(f"c{number}", max_running=rng.randint(1, 6)))
        open_accounts = [account for account in router if account.has_room(Kind.CHAT)]
        picked = router.pick(CHAT)
        if not open_accounts:
            assert picked is None
        else:
            assert picked is min(open_accounts, key=lambda account: (account.work, account.last_pick))
        if picked is not None and rng.random() < 0.6:
            new = ticket(chat(f"r{number}", num_characters=rng.randint(0, 4000)))
            router.charge(picked, [new], 0.0)
            held.append((picked.info.engine_id, new))
        elif held:
            engine_id, old = held.pop(rng.randrange(len(held)))
            account = router.account(engine_id)
            assert account is not None
            last = finished(old.request.id)
            assert router.release(account, [last, last], 1.0) == [(old, last)]
            router.settle()
        router.check()


def test_an_engine_gets_only_models_and_kinds_that_it_serves() -> None:
    router = Router()
    router.add(embed_engine())
    assert router.pick(CHAT) is None
    assert not router.serves(CHAT)
    assert router.kinds_of("embed") == (Kind.EMBED,)


def test_an_engine_that_is_gone_is_picked_no_more() -> None:
    router = Router()
    router.add(chat_engine())
    account = router.remove(EngineId("c1"))
    assert account is not None
    assert router.pick(CHAT) is None
    assert not router.serves(CHAT)
    assert router.remove(EngineId("c1")) is None


def test_an_engine_for_both_kinds_counts_all_it_holds_against_one_window() -> None:
    router = Router()
    info = EngineInfo(EngineId("x"), "simulated", "CPU", True, (CHAT_CARD, EMBED_CARD), 2, 8)
    account = router.add(info)
    router.charge(account, [ticket(embed("e"))], 0.0, batch=1)
    router.charge(account, [ticket(chat("c"))], 0.0)
    assert router.pick(CHAT) is None
    assert router.pick(Lane("embed", Kind.EMBED)) is None
    router.release(account, [finished("e")], 1.0)
    assert router.pick(CHAT) is account


def test_a_card_that_names_a_kind_twice_counts_once() -> None:
    router = Router()
    card = ModelCard("chat", (Kind.CHAT, Kind.CHAT), 2048)
    router.add(EngineInfo(EngineId("x"), "simulated", "CPU", True, (card, card), 1))
    router.check()
    assert router.remove(EngineId("x")) is not None
    assert not router.serves(CHAT)


def test_an_engine_has_room_once_the_window_grew_by_what_one_that_is_alike_worked_off() -> None:
    router = Router(window="adaptive")
    shut, other = router.add(chat_engine("c1", max_running=200)), router.add(chat_engine("c2", max_running=200))
    long = waiting(chat("long", num_characters=4 * int(1.5 * BEGIN_TOKENS)))
    router.charge(shut, (long,), 0.0)
    assert not shut.has_room_for_prompt()
    short = [waiting(chat(f"r{n}"), n) for n in range(40)]
    router.charge(other, short, 0.0)
    opened = []
    for n, ticket in enumerate(short):
        opened.append(router.saw_first_token(other, ticket, 1.0 + n))
        router.check()
    assert shut.has_room_for_prompt()
    assert shut.is_open
    assert opened.count(True) == 1
    router.remove(shut.info.engine_id)
    router.check()


def test_who_alone_has_a_slot_again_is_picked_at_once_and_keeps_a_place_where_it_is_not() -> None:
    router = Router()
    accounts = [router.add(chat_engine(f"c{n}", max_running=1)) for n in range(3)]
    for n, account in enumerate(accounts):
        router.charge(account, [ticket(chat(f"r{n}"))], 0.0)
    router.release(accounts[1], [finished("r1")], 1.0)
    assert router.pick(CHAT) is accounts[1]
    router.charge(accounts[1], [ticket(chat("next"))], 1.0)
    router.check()
    assert router.pick(CHAT) is None
    router.release(accounts[2], [finished("r2")], 2.0)
    router.settle()
    router.check()
    assert router.pick(CHAT) is accounts[2]
