"""Engines of one model that differ in speed, GPUs beside CPUs: who is slower, and what goes there."""

import pytest
from msgspec.structs import replace

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import EngineEnded, EngineUp, FirstTokens
from cluster.serving.plane import Plane
from cluster.serving.route import Router
from cluster.serving.routes import ROUTE_NAMES, route_named
from cluster.serving.size import TextSizing
from cluster.serving.speeds import ASSUMED_OF_CPU, Speed, Speeds
from sage.base.ids import EngineId
from sage.base.inference import Kind, ModelCard
from tests.unit.serving.arrange import BATCH, INTERACTIVE, CheckedPlane, chat, dispatched, finished, waiting

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


def test_engines_of_other_models_are_not_compared() -> None:
    speeds, gpu, cpu = Speeds(), Speed(models=MODEL), Speed(is_cpu=True, models=frozenset({"other"}))
    speeds.came(gpu)
    assert speeds.came(cpu) == []
    assert cpu.slowness == 1.0


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
