"""Engines of one model that differ in speed, GPUs beside CPUs: who is slower, and what goes there."""

import pytest
from msgspec.structs import replace

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import EngineEnded, EngineRetired, EngineUp, FirstTokens
from cluster.serving.plane import Plane
from cluster.serving.route import Router
from cluster.serving.routes import ROUTE_NAMES, route_named
from cluster.serving.size import TextSizing
from cluster.serving.slower import is_long_enough
from cluster.serving.speeds import ASSUMED_OF_CPU, Speed, Speeds
from cluster.serving.ticket import lane_for
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Kind, ModelCard
from tests.unit.serving.arrange import BATCH, INTERACTIVE, CheckedPlane, chat, dispatched, embedded, finished, waiting

CARD = ModelCard("chat", (Kind.CHAT,), 2048)
MODEL = frozenset({"chat"})
WEIGHING = [name for name in ROUTE_NAMES if name != "round_robin"]


def on(name: str, device: str, max_running: int = 4) -> EngineInfo:
    return EngineInfo(EngineId(name), "vllm", device, False, (CARD,), max_running)


def seen(speed: Speed, tokens_per_s: float, speeds: Speeds) -> None:
    for _ in range(16):
        speeds.saw(speed, 1_000, 1_000 / tokens_per_s)


def test_cpus_beside_gpus_are_taken_for_slower_until_both_were_seen() -> None:
    speeds, gpu, cpu = Speeds(), Speed(models=MODEL), Speed(is_cpu=True, models=MODEL)
    assert speeds.came(gpu) == []
    assert speeds.came(cpu) == [cpu]
    assert (gpu.slowness, cpu.slowness) == (1.0, ASSUMED_OF_CPU)
    seen(gpu, 10_000, speeds)
    assert cpu.slowness == ASSUMED_OF_CPU
    seen(cpu, 2_500, speeds)
    assert gpu.slowness == 1.0
    assert cpu.slowness == pytest.approx(4.0)


def test_a_cpu_that_is_as_fast_is_no_slower_and_one_alone_is_compared_with_none() -> None:
    speeds, gpu, cpu = Speeds(), Speed(models=MODEL), Speed(is_cpu=True, models=MODEL)
    speeds.came(cpu)
    assert cpu.slowness == 1.0
    speeds.came(gpu)
    seen(gpu, 1_000, speeds)
    seen(cpu, 900, speeds)
    assert cpu.slowness == 1.0, "load makes more of a difference than that"
    seen(cpu, 100, speeds)
    assert cpu.slowness > 4.0
    assert speeds.left(gpu) == [cpu]
    assert cpu.slowness == 1.0


def test_of_two_that_are_alike_the_one_that_has_prompts_cached_is_no_slower() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="fifo", route="auto"))
    card = replace(CARD, context_tokens=32_768)
    for name in "ab":
        plane.up(EngineInfo(EngineId(name), "openai", f"http://{name}/v1", False, (card,), 4))
    shared, taken = "s" * 16_000, {"shared": set[str](), "new": set[str]()}
    for number in range(40):
        for kind, text in (("shared", f"{shared} {number}"), ("new", f"{number:04}" * 1_500)):
            id = f"{kind}{number}"
            [(engine, _)] = dispatched(plane.submit(chat(id, text=text)))
            is_cached = kind == "shared" and engine in taken["shared"]
            plane.wait(0.03 + 1e-4 * (50 if is_cached else len(text) / 4))
            plane.handle(FirstTokens(EngineId(engine), (RequestId(id),)))
            plane.end(engine, id)
            taken[kind].add(engine)
    assert taken == {"shared": {"a"}, "new": {"b"}}
    assert [account.slowness for account in plane.plane._router] == [1.0, 1.0]


def test_engines_of_other_models_are_not_compared() -> None:
    speeds, gpu, cpu = Speeds(), Speed(models=MODEL), Speed(is_cpu=True, models=frozenset({"other"}))
    speeds.came(gpu)
    assert speeds.came(cpu) == []
    assert cpu.slowness == 1.0


def test_each_is_compared_with_all_that_share_a_model_with_it_whoever_came_last() -> None:
    speeds, gpu = Speeds(), Speed(models=MODEL, context_tokens=8_192)
    cpu = Speed(is_cpu=True, models=frozenset({"chat", "sql"}), context_tokens=2_048)
    speeds.came(gpu)
    speeds.came(cpu)
    assert speeds.came(Speed(is_cpu=True, models=frozenset({"sql"}), context_tokens=2_048)) == []
    assert (cpu.slowness, cpu.is_short) == (ASSUMED_OF_CPU, True)


def plane(*infos: EngineInfo, route: str = "auto", policy: str = "fifo") -> CheckedPlane:
    checked = CheckedPlane(Plane(("chat",), policy=policy, route=route))
    for info in infos:
        checked.handle(EngineUp(info))
    return checked


@pytest.mark.parametrize("route", WEIGHING)
def test_before_anything_is_known_the_gpu_is_asked_first(route: str) -> None:
    checked = plane(on("cpu", "CPU"), on("gpu", "GPU"), route=route)
    given = [dispatched(checked.submit(chat(f"r{n}", text=f"{n} " * 200)))[0][0] for n in range(4)]
    assert given == ["gpu"] * 4


def test_round_robin_takes_turns_whatever_the_speed() -> None:
    checked = plane(on("cpu", "CPU"), on("gpu", "GPU"), route="round_robin")
    assert [dispatched(checked.submit(chat(f"r{n}")))[0][0] for n in range(4)] == ["cpu", "gpu", "cpu", "gpu"]


def learned(*, cpu_s: float, token_s: float, policy: str = "hybrid") -> CheckedPlane:
    """Return a plane whose GPU is full, and whose CPU took `cpu_s` for each prompt and `token_s` for each token."""
    checked = plane(on("cpu", "CPU"), policy=policy)
    for number in range(16):
        checked.submit(chat(f"c{number}", text=f"{number} " * 100))
        checked.now_s += cpu_s
        checked.handle(FirstTokens(EngineId("cpu"), (chat(f"c{number}").id,)))
        checked.now_s += 10 * token_s
        checked.handle(EngineEnded(EngineId("cpu"), (finished(f"c{number}", "cpu", completion_tokens=11),)))
    checked.handle(EngineUp(on("gpu", "GPU", max_running=1)))
    checked.submit(chat("full"))
    return checked


def test_what_begins_in_time_and_goes_on_fast_enough_goes_to_the_slow_one_when_the_fast_one_is_full() -> None:
    assert dispatched(learned(cpu_s=0.5, token_s=0.1).submit(chat("a", INTERACTIVE))) == [("cpu", ["a"])]


@pytest.mark.parametrize(("cpu_s", "token_s"), [(1.8, 0.1), (0.5, 0.4)], ids=["late", "slow to read"])
def test_what_would_be_late_or_slow_to_read_there_waits_for_the_fast_one(cpu_s: float, token_s: float) -> None:
    checked = learned(cpu_s=cpu_s, token_s=token_s)
    assert dispatched(checked.submit(chat("a", INTERACTIVE))) == []
    assert dispatched(checked.submit(chat("b", BATCH))) == [], "nothing goes past what stands first"
    assert dispatched(checked.end("gpu", "full")) == [("gpu", ["a"]), ("cpu", ["b"])]


def test_batch_work_goes_to_the_slow_one_when_the_fast_one_is_full() -> None:
    assert dispatched(learned(cpu_s=9.0, token_s=0.9).submit(chat("b", BATCH))) == [("cpu", ["b"])]


def test_what_waits_for_the_fast_one_goes_to_the_slow_one_once_that_is_lost() -> None:
    checked = learned(cpu_s=1.8, token_s=0.1)
    checked.submit(chat("a", INTERACTIVE))
    assert dispatched(checked.down("gpu")) == [("cpu", ["a"])]


@pytest.mark.parametrize("route", ROUTE_NAMES)
def test_a_prompt_goes_to_an_engine_whose_context_is_long_enough_and_waits_for_it(route: str) -> None:
    long = replace(on("long", "GPU", max_running=1), models=(replace(CARD, context_tokens=8192),))
    checked = plane(on("short", "GPU"), long, on("short too", "GPU"), route=route)
    assert dispatched(checked.submit(chat("a", num_characters=4 * 4_000))) == [("long", ["a"])]
    assert dispatched(checked.submit(chat("b", num_characters=4 * 4_000))) == []
    assert dispatched(checked.end("long", "a")) == [("long", ["b"])]
    assert dispatched(checked.submit(chat("c")))[0][0].startswith("short")
    checked.down("long")
    assert dispatched(checked.submit(chat("d", num_characters=4 * 4_000)))[0][0].startswith("short"), "it will say so"


def test_an_engine_without_the_model_kind_or_adapter_is_never_taken_for_being_fast() -> None:
    adapter = ModelCard("sql", (Kind.CHAT,), 2048, parent="chat")
    cpu = EngineInfo(EngineId("cpu"), "vllm", "CPU", False, (CARD, adapter), 4, adapter_slots=1)
    raw = EngineInfo(EngineId("gpu"), "vllm", "GPU", False, (ModelCard("chat", (Kind.GENERATE,), 2048),), 4)
    router = Router(route_named("auto", TextSizing()))
    for info in (cpu, raw):
        router.add(info)
    for model in ("chat", "sql"):
        chosen = router.choose(waiting(chat("a", BATCH, model=model)), 0.0)
        assert chosen is not None
        assert chosen.info.engine_id == "cpu"


def of_sql(info: EngineInfo) -> EngineInfo:
    return replace(info, models=(CARD, ModelCard("sql", (Kind.CHAT,), 2048, parent="chat")), adapter_slots=1)


def with_context(info: EngineInfo, context_tokens: int) -> EngineInfo:
    return replace(info, models=(replace(CARD, context_tokens=context_tokens),))


def slow(info: EngineInfo) -> CheckedPlane:
    """Return a plane over one engine that is known to take half a minute for a prompt."""
    checked = plane(info, policy="hybrid")
    for number in range(16):
        id = f"c{number}"
        checked.submit(chat(id, BATCH, text=f"{number} " * 100))
        checked.now_s += 30.0
        checked.handle(FirstTokens(info.engine_id, (RequestId(id),)))
        checked.now_s += 30.0
        checked.end(info.engine_id, id)
    return checked


def test_nothing_waits_for_a_fast_engine_that_does_not_serve_its_lane() -> None:
    checked = slow(of_sql(on("cpu", "CPU")))
    checked.up(on("gpu", "GPU"))
    assert dispatched(checked.submit(chat("x", INTERACTIVE, model="sql"))) == [("cpu", ["x"])]


def test_a_prompt_too_long_for_the_fast_engine_goes_to_the_slow_one() -> None:
    checked = slow(with_context(on("cpu", "CPU"), 32_768))
    checked.up(on("gpu", "GPU"))
    assert dispatched(checked.submit(chat("x", INTERACTIVE, num_characters=20_000))) == [("cpu", ["x"])]
    assert dispatched(checked.submit(chat("y", INTERACTIVE))) == [("gpu", ["y"])]


def test_of_short_engines_the_one_that_holds_a_prompt_takes_it_once_the_longest_retires() -> None:
    contexts = {"tiny": 1_024, "short": 4_096, "long": 32_768}
    checked = plane(*(with_context(on(name, "GPU"), tokens) for name, tokens in contexts.items()))
    checked.handle(EngineRetired(EngineId("long"), 600.0))
    assert dispatched(checked.submit(chat("x", num_characters=8_000))) == [("short", ["x"])]
    assert dispatched(checked.submit(chat("y", num_characters=40_000))) == [("short", ["y"])], "it will say so"


def test_nothing_waits_for_an_engine_that_is_to_end() -> None:
    checked = slow(on("cpu", "CPU"))
    checked.up(on("gpu", "GPU", max_running=1))
    checked.submit(chat("full", INTERACTIVE))
    assert dispatched(checked.submit(chat("before", INTERACTIVE))) == []
    assert dispatched(checked.handle(EngineRetired(EngineId("gpu"), 600.0))) == [("cpu", ["before"])]
    assert dispatched(checked.submit(chat("after", INTERACTIVE))) == [("cpu", ["after"])]


def test_an_engine_that_comes_back_alone_is_slower_than_none() -> None:
    checked = slow(on("cpu", "CPU"))
    checked.up(on("gpu", "GPU"))
    checked.down("cpu")
    checked.down("gpu")
    checked.up(on("cpu", "CPU"))
    assert [account.slowness for account in checked.plane._router] == [1.0]
    given = [dispatched(checked.submit(chat(f"x{n}", INTERACTIVE))) for n in range(2)]
    assert given == [[("cpu", ["x0"])], [("cpu", ["x1"])]]


@pytest.mark.parametrize("gpu_tokens", [2048, 1024], ids=["a CPU alone", "a CPU beside a shorter GPU"])
def test_a_full_queue_lets_in_what_an_idle_slower_engine_takes_at_once(gpu_tokens: int) -> None:
    checked = CheckedPlane(Plane(("chat",), policy="fifo", max_waiting=0))
    checked.up(of_sql(on("cpu", "CPU")))
    checked.up(with_context(on("gpu", "GPU"), gpu_tokens))
    assert dispatched(checked.submit(chat("a", INTERACTIVE, model="sql"))) == [("cpu", ["a"])]
    assert dispatched(checked.submit(chat("b", INTERACTIVE))) == [("gpu", ["b"])]


def test_where_all_engines_of_a_lane_are_slow_as_many_count_as_there_are() -> None:
    router = Router(route_named("auto", TextSizing()))
    for info in (of_sql(on("cpu", "CPU")), of_sql(on("cpu too", "CPU")), on("gpu", "GPU")):
        router.add(info)
    assert router.num_as_fast(lane_for("sql", Kind.CHAT)) == 2.0
    assert not router.is_full(lane_for("sql", Kind.CHAT))


def embedding(name: str, context_tokens: int) -> EngineInfo:
    card = ModelCard("embed", (Kind.EMBED,), context_tokens, dim=2)
    return EngineInfo(EngineId(name), "openvino", "CPU", False, (card,), 256, 32)


def test_texts_fit_a_context_each_by_itself_and_a_batch_takes_none_that_does_not() -> None:
    checked = plane(embedding("short", 256))
    checked.up(embedding("long", 8_192))
    account = checked.plane._router.account(EngineId("short"))
    assert account is not None
    many = waiting(EmbedRequest(RequestId("many"), "embed", ("x" * 400,) * 30))
    one = waiting(EmbedRequest(RequestId("one"), "embed", ("x", "x" * 1_200)))
    assert is_long_enough(account, many)
    assert not is_long_enough(account, one)
    for name in ("short", "long"):
        for number in range(2):
            checked.submit(EmbedRequest(RequestId(f"{name}{number}"), "embed", ("x",)))
    checked.submit(EmbedRequest(RequestId("brief"), "embed", ("x",)), one.request)
    given = dict(dispatched(checked.handle(EngineEnded(EngineId("short"), held_by(checked, "short")))))
    assert given == {"short": ["brief"]}
    assert dispatched(checked.handle(EngineEnded(EngineId("long"), held_by(checked, "long")))) == [("long", ["one"])]


def held_by(checked: CheckedPlane, name: str) -> tuple[Embedded, ...]:
    account = checked.plane._router.account(EngineId(name))
    assert account is not None
    return tuple(embedded(id, name) for id in account.held)
