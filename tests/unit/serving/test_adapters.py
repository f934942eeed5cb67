"""Adapters (LoRA) in routing: who has one ready goes first, loading has its price, and none is kept out for ever."""

from collections import Counter
from itertools import pairwise

import pytest
from msgspec.structs import replace

from cluster.serving import ready_adapters
from cluster.serving.adapter_loads import ASSUMED_TOKENS, TIMES_IF_OUT_GOES, AdapterLoads
from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import Command, Dispatch, EngineEnded, EngineUp, FirstTokens, Submitted
from cluster.serving.plane import Plane
from cluster.serving.route import Router
from cluster.serving.routes import ROUTE_NAMES, route_named
from cluster.serving.size import TextSizing
from cluster.serving.stays import MAX_LOOKED_AT
from cluster.serving.ticket import lane_for, lane_of
from sage.base.ids import EngineId, RequestId
from sage.base.inference import ChatRequest, Kind, ModelCard, Request
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    CheckedPlane,
    chat,
    chat_engine,
    dispatched,
    finished,
    waiting,
)
from tests.unit.serving.test_routes import Routed

NAMES = ("sql", "law", "french")
WEIGHING = [name for name in ROUTE_NAMES if name != "round_robin"]


@pytest.mark.parametrize("route", WEIGHING)
def test_an_engine_that_has_the_adapter_ready_goes_before_one_that_must_load_it(route: str) -> None:
    routed = Routed(route, *(chat_engine(f"c{n}", max_running=8, adapters=NAMES, adapter_slots=2) for n in range(3)))
    first = routed.give_and_end(chat("a", model="sql"))
    others = [routed.give_and_end(chat(f"b{n}", model="sql", text=f"another {n}")) for n in range(4)]
    assert others == [first] * 4, "nobody else loads it while there is no need"


def test_round_robin_asks_for_no_price_but_goes_where_there_is_a_slot() -> None:
    routed = Routed("round_robin", *(chat_engine(f"c{n}", adapters=NAMES, adapter_slots=1) for n in range(2)))
    assert [routed.give(chat("a", model="sql")), routed.give(chat("b", model="law"))] == ["c0", "c1"]
    assert routed.give(chat("c", model="law")) == "c1"
    assert routed.router.choose(waiting(chat("d", model="french")), 0.0) is None


@pytest.mark.parametrize("route", WEIGHING)
def test_where_the_adapter_is_ready_much_work_is_too_much(route: str) -> None:
    """Its price is what is in front of the least busy one: an engine without it is taken once that is less."""
    routed = Routed(route, *(chat_engine(f"c{n}", max_running=64, adapters=NAMES, adapter_slots=3) for n in range(2)))
    given = [
        routed.give(chat(f"a{n}", model="sql", text=f"{n} " * 800, max_tokens=1, tenant=f"t{n}")) for n in range(12)
    ]
    assert given[0] == given[1] == given[2]
    assert set(given) == {"c0", "c1"}


def test_to_load_in_place_of_another_counts_more() -> None:
    router = Router(route_named("auto", TextSizing()))
    account = router.add(chat_engine(adapters=NAMES, adapter_slots=1, max_running=4))
    lane = lane_for("sql", Kind.CHAT)
    assert account.loading_tokens(lane) == ASSUMED_TOKENS
    assert account.loading_tokens(lane_for("chat", Kind.CHAT)) == 0.0
    ticket = waiting(chat("a", model="law"))
    router.charge(account, (ticket,), 0.0)
    assert account.loading_tokens(lane_of(ticket.request)) == 0.0
    router.release(account, [finished("a")], 1.0)
    router.settle()
    assert account.loading_tokens(lane) == TIMES_IF_OUT_GOES * ASSUMED_TOKENS


def test_how_long_a_load_takes_is_learned_and_kept_out_of_the_time_of_prompts() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="fifo"))
    plane.up(chat_engine(adapters=NAMES, adapter_slots=1, max_running=1))
    account = plane.plane._router.account(EngineId("c1"))
    assert account is not None
    for number in range(60):
        model = NAMES[number // 3 % 3]
        plane.submit(chat(f"r{number}", model=model, text=f"{number:04}" * 1_000))
        plane.now_s += 1.0 if number % 3 else 1.5
        plane.first(f"r{number}")
        plane.end("c1", f"r{number}")
    assert account.loads.seconds == pytest.approx(0.5, abs=0.05)
    assert account.loads.tokens == pytest.approx(500, rel=0.1)
    assert account.latency.first_token_s(1_000, 0) == pytest.approx(1.0, abs=0.05)
    assert account.first_token_in_s(1_000, plane.now_s, lane_for("sql", Kind.CHAT)) == pytest.approx(1.5, abs=0.1)
    assert account.first_token_in_s(1_000, plane.now_s, lane_for("chat", Kind.CHAT)) == pytest.approx(1.0, abs=0.05)


def test_loads_that_were_never_seen_are_assumed_and_noise_is_no_load() -> None:
    loads = AdapterLoads()
    assert (loads.seconds, loads.tokens) == (0.0, ASSUMED_TOKENS)
    loads.saw_prompt(1_000, 1.0)
    for more_s in (0.3, -0.3, 0.1, -0.1, -0.1):
        loads.saw_load(more_s)
    assert loads.seconds == 0.0
    assert loads.tokens == 0.0


def test_a_prompt_kept_for_one_adapter_draws_no_request_of_another() -> None:
    text = "the same words again and again " * 200
    routed = Routed("auto", *(chat_engine(f"c{n}", max_running=64, adapters=NAMES, adapter_slots=3) for n in range(2)))
    holder = routed.give_and_end(chat("a", model="sql", text=text))
    sql, law = waiting(chat("b", model="sql", text=text)), waiting(chat("c", model="law", text=text))
    assert (routed.router.affinity_tokens(sql) or 0) > 0.9 * sql.size.prompt_tokens
    assert routed.router.affinity_tokens(law) == 0
    chosen = routed.router.choose(sql, 0.0)
    assert chosen is not None
    assert chosen.info.engine_id == holder


def test_an_adapter_is_asked_of_those_that_offer_it_and_one_that_is_a_model_elsewhere_of_that_too() -> None:
    own = ModelCard("sql", (Kind.CHAT,), 2048)
    plain = EngineInfo(EngineId("plain"), "simulated", "CPU", True, (own,), 1)
    routed = Routed("least_work", chat_engine("a", adapters=("law",), adapter_slots=1), plain)
    assert routed.give(chat("1", model="sql")) == "plain"
    assert routed.give(chat("2", model="law")) == "a"
    assert routed.router.choose(waiting(chat("3", model="sql")), 0.0) is None
    routed.router.add(chat_engine("b", adapters=("sql", "law"), adapter_slots=1))
    routed.router.check()
    assert routed.give(chat("4", model="sql")) == "b"


def test_lanes_that_part_when_an_engine_offers_some_of_them_keep_their_engines() -> None:
    routed = Routed("least_work", chat_engine("a", adapters=NAMES, adapter_slots=3, max_running=9))
    routed.router.add(chat_engine("b", adapters=NAMES[:2], adapter_slots=2, max_running=9))
    routed.router.add(chat_engine("c", max_running=9))
    routed.router.check()
    names = {
        model: {account.info.engine_id for account in routed.router.serving(lane_for(model, Kind.CHAT))}
        for model in ("chat", *NAMES)
    }
    assert names == {"chat": {"a", "b", "c"}, "sql": {"a", "b"}, "law": {"a", "b"}, "french": {"a"}}
    routed.router.remove(EngineId("a"))
    routed.router.check()
    assert not routed.router.serves(lane_for("french", Kind.CHAT))
    assert routed.give(chat("1", model="law")) == "b"


def test_of_many_engines_that_are_ready_all_get_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_adapters, "MAX_SCANNED", 2)
    infos = [chat_engine(f"c{n}", max_running=8, adapters=("sql",), adapter_slots=1) for n in range(6)]
    routed = Routed("least_work", *infos)
    given = Counter(routed.give(chat(f"r{n}", model="sql", max_tokens=2_000)) for n in range(24))
    assert given == dict.fromkeys((f"c{n}" for n in range(6)), 4), "not those first that were ready first"


class OneEngine:
    """A plane over one engine with adapters, that ends what it was given longest ago."""

    def __init__(self, slots: int, max_running: int, adapters: tuple[str, ...] = NAMES) -> None:
        self.plane = CheckedPlane(Plane(("chat",), policy="fifo"))
        info = chat_engine(adapters=adapters, adapter_slots=slots, max_running=max_running)
        self.plane.handle(EngineUp(info))
        self.given: list[Request] = []
        self.num_ended = 0

    def take(self, *requests: ChatRequest) -> None:
        self._note(self.plane.handle(Submitted(requests)))

    def end(self) -> None:
        """End the oldest; a token of it came before."""
        oldest = self.given[self.num_ended]
        is_loaded = self.num_ended == 0 or self.given[self.num_ended - 1].model != oldest.model
        self.plane.now_s += 0.6 if is_loaded else 0.1
        self._note(self.plane.handle(FirstTokens(EngineId("c1"), (oldest.id,))))
        self.num_ended += 1
        self._note(self.plane.handle(EngineEnded(EngineId("c1"), (finished(oldest.id),))))

    def _note(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Dispatch) and command.engine_id == "c1":
                self.given += command.requests

    def models(self) -> list[str]:
        return [request.model for request in self.given]


def test_many_adapters_over_one_slot_stay_until_loading_has_paid() -> None:
    """By order of arrival each request would be loaded for; four times its loading is worked between two loads."""
    one = OneEngine(slots=1, max_running=1)
    one.take(*(chat(f"r{n}", model=NAMES[n % 3], max_tokens=1) for n in range(30)))
    while one.num_ended < 30:
        one.end()
    models = one.models()
    num_loads = 1 + sum(model != before for before, model in pairwise(models))
    assert Counter(models) == dict.fromkeys(NAMES, 10)
    assert num_loads <= 9
    assert [request.id for request in one.given if request.model == "sql"] == [f"r{n}" for n in range(0, 30, 3)]


def test_what_is_more_urgent_is_not_kept_waiting_by_an_adapter_that_stays() -> None:
    one = OneEngine(slots=1, max_running=1)
    one.plane.policy("priority")
    one.take(*(chat(f"r{n}", model="sql") for n in range(3)))
    one.take(chat("i", INTERACTIVE, model="law"))
    one.end()
    assert one.models() == ["sql", "law"]


def test_an_adapter_that_is_always_at_work_keeps_no_other_out_for_ever() -> None:
    one = OneEngine(slots=1, max_running=4)
    one.take(*(chat(f"a{n}", model="sql", max_tokens=500) for n in range(8)), chat("x", model="law"))
    for number in range(8, 60):
        one.take(chat(f"a{number}", model="sql", max_tokens=500))
        one.end()
        if "law" in one.models():
            break
    assert one.models().index("law") <= 16, "it waits for what came before it, and what was at work"


def test_a_closed_slot_opens_again_where_whoever_waited_has_left() -> None:
    one = OneEngine(slots=1, max_running=2)
    one.take(*(chat(f"a{n}", model="sql", max_tokens=2_000) for n in range(3)), chat("x", model="law"))
    one.take(chat("late", model="sql"))
    one.end()  # a2 stands before x
    one.end()  # x stands before `late`, and there is no slot for it
    assert one.models() == ["sql"] * 3
    one.plane.cancel("x")
    one.end()
    assert one.models() == ["sql"] * 4
    assert dispatched(one.plane.commands)[-1] == ("c1", ["late"])


def test_an_adapter_has_its_turn_however_many_less_urgent_ones_wait_before_it() -> None:
    """More of them wait than are looked at for one pick."""
    others = tuple(f"other {n}" for n in range(2 * MAX_LOOKED_AT))
    one = OneEngine(slots=1, max_running=4, adapters=("sql", "law", *others))
    one.plane.policy("priority")
    one.take(*(chat(f"a{n}", INTERACTIVE, model="sql", max_tokens=500) for n in range(8)))
    for other in others:
        one.take(chat(other, BATCH, model=other))
    one.take(chat("x", INTERACTIVE, model="law"))
    for number in range(8, 60):
        one.take(chat(f"a{number}", INTERACTIVE, model="sql", max_tokens=500))
        one.end()
        if "law" in one.models():
            break
    assert one.models().index("law") <= 20


def mixed(name: str, device: str, context_tokens: int = 2_048, max_running: int = 4) -> EngineInfo:
    """Return an engine with a slot for one adapter."""
    info = chat_engine(name, max_running=max_running, adapters=NAMES, adapter_slots=1)
    cards = tuple(replace(card, context_tokens=context_tokens) for card in info.models)
    return replace(info, device=device, models=cards)


def test_what_is_kept_for_a_faster_engine_has_its_turn_in_its_slots() -> None:
    one = OneEngine(slots=1, max_running=4)
    one.plane.down("c1")
    one.plane.up(mixed("cpu", "CPU"))
    for number in range(16):
        one.plane.submit(chat(f"c{number}", BATCH, model="law"))
        one.plane.now_s += 30.0
        one.plane.handle(FirstTokens(EngineId("cpu"), (RequestId(f"c{number}"),)))
        one.plane.end("cpu", f"c{number}")
    one.plane.up(mixed("c1", "GPU"))
    one.take(*(chat(f"a{n}", INTERACTIVE, model="sql", max_tokens=500) for n in range(8)))
    one.take(chat("x", INTERACTIVE, model="law"))
    for number in range(8, 60):
        one.take(chat(f"a{number}", INTERACTIVE, model="sql", max_tokens=500))
        one.end()
        if "law" in one.models():
            break
    assert "law" in one.models()


def test_an_engine_does_not_get_what_was_kept_from_it_in_place_of_another_adapter() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="fifo", route="least_work"))
    plane.up(mixed("short", "GPU"))
    plane.submit(chat("a0", model="sql"))
    plane.end("short", "a0")
    plane.up(mixed("long", "other GPU", context_tokens=32_768, max_running=1))
    assert dispatched(plane.submit(chat("b0", model="law", num_characters=20_000))) == [("long", ["b0"])]
    assert dispatched(plane.submit(chat("a1", model="sql", num_characters=20_000))) == []
    assert dispatched(plane.submit(chat("b1", model="law"))) == [("short", ["b1"])]
