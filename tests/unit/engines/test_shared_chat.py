"""A chat engine that shares its device, in virtual time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.shared_chat import SharedChat
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.sharing import ChatNow, OldestText, SharingMode, next_go
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, RequestId
from sage.base.inference import GenerateRequest, Kind, Reply, Sampling, ServiceClass, Token

TARGET_S = 0.060


def asked(id: str, *, num_words: int = 20, max_tokens: int = 30) -> GenerateRequest:
    return GenerateRequest(RequestId(id), "sim", "word " * num_words, Sampling(max_tokens=max_tokens))


class WaitingEngine(SimulatedEngine):
    """A simulated engine whose step takes its time, as a real one's does, instead of being asked again."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(EngineId("sim"), "sim", profile_of("cpu2"), clock, kinds=(Kind.CHAT, Kind.GENERATE))
        self._now = clock

    def step(self) -> list[Reply]:
        replies = super().step()
        if not replies:
            self._now.advance(self.due_in_s() or 0.0)
            replies = super().step()
        return replies


class Bench:
    """A chat engine and the place of embeddings beside it, which run whenever chat sleeps."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(100.0)
        self.embed = DeviceBoard(path)
        self.num_tokens = 0
        engine, board = WaitingEngine(self.clock), DeviceBoard(path)
        self.chat = SharedChat(engine, board, cpus=frozenset({0}), clock=self.clock, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        now_s = self.clock.monotonic_s()
        chat = self.embed.chat_now(now_s)
        go = next_go(SharingMode.ALTERNATING, chat, OldestText(ServiceClass.BATCH, 1e9), now_s)
        if go is None:
            return self.clock.advance(seconds)
        self.num_tokens += go.budget_tokens
        return self.clock.advance(go.budget_tokens / 16_000)

    def want(self, mode: SharingMode) -> None:
        self.embed.show_embedding(mode, TARGET_S, self.clock.monotonic_s(), wants=True, num_in_work=0)

    def run(self) -> list[float]:
        """Run chat to its end; return the times between two tokens of one request."""
        gaps_s, last_s = list[float](), dict[RequestId, float]()
        while self.chat.has_work():
            for reply in self.chat.step():
                if isinstance(reply, Token):
                    now_s = self.clock.monotonic_s()
                    if reply.request_id in last_s:
                        gaps_s.append(now_s - last_s[reply.request_id])
                    last_s[reply.request_id] = now_s
        return gaps_s


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "board").touch()
    bench = Bench(tmp_path / "board")
    yield bench
    bench.chat.close()
    bench.embed.close()


def test_the_board_says_who_lacks_a_first_token(bench: Bench) -> None:
    bench.chat.add([asked("a"), asked("b")])
    assert bench.embed.chat_now(bench.clock.monotonic_s()).num_lacking == 2
    tokens: list[RequestId] = []
    while not tokens:
        tokens = [reply.request_id for reply in bench.chat.step()]
    now = bench.embed.chat_now(bench.clock.monotonic_s())
    assert (now.num_running, now.num_lacking) == (2, 2 - len(set(tokens)))
    bench.run()
    assert bench.embed.chat_now(bench.clock.monotonic_s()).num_running == 0


def test_a_request_that_fails_or_is_cancelled_holds_nobody_back(bench: Bench) -> None:
    bench.chat.add([asked("a"), asked("b", max_tokens=0)])
    bench.chat.cancel([RequestId("a")])
    bench.run()
    assert bench.embed.chat_now(bench.clock.monotonic_s()) == ChatNow()


def test_without_embeddings_chat_waits_for_nobody(bench: Bench) -> None:
    bench.chat.add([asked("a")])
    gaps_s = bench.run()
    assert bench.num_tokens == 0
    assert max(gaps_s) <= 0.0125


def test_alternating_embeddings_get_what_the_target_leaves_and_chat_keeps_it(bench: Bench) -> None:
    bench.want(SharingMode.ALTERNATING)
    bench.chat.add([asked(str(number), max_tokens=60) for number in range(8)])
    gaps_s = sorted(bench.run())
    assert gaps_s[int(0.99 * len(gaps_s))] <= TARGET_S
    busy_s = bench.num_tokens / 16_000
    assert busy_s >= 0.3 * sum(gaps_s) / 8, "and use a good part of the time"


def test_gated_embeddings_make_chat_wait_for_nothing(bench: Bench) -> None:
    bench.want(SharingMode.GATED)
    bench.chat.add([asked("a")])
    bench.run()
    assert bench.num_tokens == 0
