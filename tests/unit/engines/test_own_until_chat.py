"""An embedding engine that has the device to itself until chat runs beside it for long, with encoders made for it."""

import select
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.embed_jobs import EmbedJobs
from cluster.serving.engines.openvino_embed import OpenvinoEmbed, embed_info
from cluster.serving.engines.own_until_chat import WORTH_S, OwnUntilChat
from cluster.serving.engines.shared_embed import SharedEmbed
from cluster.serving.engines.spec import SharingOptions
from cluster.serving.model_store import open_store
from cluster.serving.sharing import ChatNow
from sage.base.clock import ManualClock
from sage.base.config import load_settings
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Kind, ModelCard, Reply

pytestmark = pytest.mark.engines  # for the tokenizer's file

CARD = ModelCard("minilm", (Kind.EMBED,), 256, 2)
OWN, SHARED = 1.0, 2.0
QUIET, READING, DECODING = ChatNow(), ChatNow(2, 1, 0.5, 0.01, 0.04), ChatNow(2, 0, 0.5, 0.01, 0.04)
DEADLINE_MS = 10_000


class SayingEncoder:
    """A vector is the number of tokens of its row, and who embedded it; it takes the clock `takes_s`."""

    def __init__(self, who: float, clock: ManualClock, takes_s: float) -> None:
        self._who = who
        self._clock = clock
        self._takes_s = takes_s

    def vectors(self, rows: Sequence[list[int]], rest: Callable[[], None] | None = None) -> NDArray[np.float32]:
        self._clock.advance(self._takes_s)
        return np.array([[len(row), self._who] for row in rows], np.float32)


class Bench:
    def __init__(self, path: Path) -> None:
        path.touch()
        self.clock = ManualClock(100.0)
        self.chat = DeviceBoard(path)
        self.error: Exception | None = None
        self._info = embed_info(EngineId("e"), CARD, 2)
        self._jobs = EmbedJobs(self._info, CARD, open_store(load_settings().models).path("minilm")["tokenizer"])
        self._board = DeviceBoard(path)
        own = OpenvinoEmbed(self._info, self._jobs, SayingEncoder(OWN, self.clock, 1.0))
        self.engine = OwnUntilChat(self._jobs, own, self._make_shared, self._board, self.clock)
        assert self.engine.wake_fd is not None
        self._poll = select.poll()
        self._poll.register(self.engine.wake_fd, select.POLLIN)

    def _make_shared(self) -> SharedEmbed:
        if self.error is not None:
            raise self.error
        return SharedEmbed(
            self._info,
            self._jobs,
            lambda: SayingEncoder(SHARED, self.clock, 0.0),
            self._board,
            SharingOptions(),
            num_cpus=2,
            clock=self.clock,
            sleep=lambda _: None,
            is_meek=True,
        )

    def chat_is(self, chat: ChatNow) -> None:
        self.chat.show_chat(chat, self.clock.monotonic_s())

    def embeds(self, text: str, chat: ChatNow = QUIET) -> float:
        """Embed beside chat; return by whom."""
        self.chat_is(chat)
        self.engine.add([EmbedRequest(RequestId(text), "minilm", (text,))])
        replies = list[Reply](self.engine.step())
        while not replies:
            assert self._poll.poll(DEADLINE_MS), "workers say when they are done"
            self.chat_is(chat)
            replies += self.engine.step()
        assert isinstance(replies[0], Embedded), replies
        tokens, who = np.frombuffer(replies[0].vectors, "<f4")
        assert tokens == len(text.split()) + 2
        return float(who)

    def embed_until_it_is_worth_it(self) -> None:
        for number in range(int(WORTH_S)):
            assert self.embeds(f"text {number}", DECODING) == OWN
        making = self.engine._making
        assert making is not None
        making.join(DEADLINE_MS / 1000)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "board")
    yield bench
    bench.engine.close()
    bench.chat.close()


def test_without_chat_embeddings_have_the_device_to_themselves_for_ever(bench: Bench) -> None:
    assert {bench.embeds(f"text {number}") for number in range(3 * int(WORTH_S))} == {OWN}
    assert bench.engine._making is None


def test_what_was_worth_preparing_for_gives_way_and_only_while_chat_runs(bench: Bench) -> None:
    bench.embed_until_it_is_worth_it()
    assert bench.embeds("beside", DECODING) == SHARED
    assert bench.embeds("alone") == OWN
    assert bench.embeds("beside again", DECODING) == SHARED


def test_texts_that_came_before_chat_did_give_way_to_it_too(bench: Bench) -> None:
    bench.embed_until_it_is_worth_it()
    bench.chat_is(QUIET)
    bench.engine.add([EmbedRequest(RequestId("many"), "minilm", tuple("word " * 200 for _ in range(3)))])
    assert bench.engine.step() == []
    assert bench.engine.due_in_s() == 0.0
    bench.chat_is(READING)
    assert bench.engine.step() == []
    assert bench.chat.num_in_work(bench.clock.monotonic_s()) == 0, "it came a second ago, but behind others"
    due_s = bench.engine.due_in_s()
    assert due_s is not None, "it looks again soon"
    assert due_s > 0.0


def test_where_giving_way_cannot_be_prepared_embeddings_go_on_and_the_log_says_why(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.error = RuntimeError("no memory for another encoder")
    bench.embed_until_it_is_worth_it()
    assert bench.embeds("beside", DECODING) == OWN
    assert "no memory for another encoder" in capsys.readouterr().err


def test_a_request_that_is_cancelled_ends_whoever_would_embed_it(bench: Bench) -> None:
    bench.embed_until_it_is_worth_it()
    bench.chat_is(READING)
    bench.engine.add([EmbedRequest(RequestId("gone"), "minilm", ("one",))])
    assert bench.engine.step() == []
    bench.engine.cancel([RequestId("gone"), RequestId("unknown")])
    assert [reply.request_id for reply in bench.engine.step()] == ["gone"]
    assert not bench.engine.has_work()
