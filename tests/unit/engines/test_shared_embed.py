"""An embedding engine that gives way to chat, with an encoder made for it."""

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.embed_jobs import EmbedJobs
from cluster.serving.engines.embed_workers import EmbedWorkers
from cluster.serving.engines.openvino_embed import embed_info
from cluster.serving.engines.shared_embed import SharedEmbed
from cluster.serving.engines.spec import SharingOptions
from cluster.serving.model_store import open_store
from cluster.serving.sharing import ChatNow, SharingMode
from sage.base.clock import ManualClock
from sage.base.config import load_settings
from sage.base.errors import InvalidRequest, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Failed, Kind, ModelCard, Reply, ServiceClass

pytestmark = pytest.mark.engines  # for the tokenizer's file

CARD = ModelCard("minilm", (Kind.EMBED,), 256, 2)
READING, DECODING = ChatNow(2, 1, 0.5, 0.01, 0.04), ChatNow(2, 0, 0.5, 0.01, 0.04)
DEADLINE_MS = 10_000


class CountingEncoder:
    """A vector is the number of tokens of its row, and that of rows beside it. `amid` happens before it may rest."""

    def __init__(self, amid: Callable[[], None]) -> None:
        self._amid = amid

    def vectors(self, rows: Sequence[list[int]], rest: Callable[[], None] | None = None) -> NDArray[np.float32]:
        if rest is not None:
            self._amid()
            rest()
        return np.array([[len(row), len(rows)] for row in rows], np.float32)


AUTO = SharingOptions(SharingMode.AUTO)


class Bench:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(100.0)
        self.chat = DeviceBoard(path)
        info = embed_info(EngineId("e"), CARD, 2)
        jobs = EmbedJobs(info, CARD, open_store(load_settings().models).path("minilm")["tokenizer"])
        board = DeviceBoard(path)
        self.amid_work: Callable[[], None] = lambda: None
        self.while_resting: Callable[[], None] = lambda: None
        self.engine = SharedEmbed(
            info,
            jobs,
            lambda: CountingEncoder(lambda: self.amid_work()),
            board,
            AUTO,
            num_cpus=2,
            clock=self.clock,
            sleep=lambda _: self.while_resting(),
        )

    def chat_is(self, chat: ChatNow) -> None:
        self.chat.show_chat(chat, self.clock.monotonic_s())

    def ask(self, id: str, *texts: str, service_class: ServiceClass = ServiceClass.STANDARD) -> None:
        self.engine.add([EmbedRequest(RequestId(id), "minilm", texts, service_class)])

    def replies(self, num: int) -> list[Reply]:
        """Step until so many have ended."""
        replies = list(self.engine.step())
        assert self.engine.wake_fd is not None
        poll = select.poll()
        poll.register(self.engine.wake_fd, select.POLLIN)
        while len(replies) < num:
            assert poll.poll(DEADLINE_MS), "workers say when they are done"
            replies += self.engine.step()
        return replies


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "board").touch()
    bench = Bench(tmp_path / "board")
    yield bench
    bench.engine.close()
    bench.chat.close()


def lengths(reply: Reply) -> list[float]:
    assert isinstance(reply, Embedded), reply
    return [float(number) for number in np.frombuffer(reply.vectors, "<f4").reshape(-1, 2)[:, 0]]


def test_vectors_come_back_in_the_order_of_their_texts(bench: Bench) -> None:
    words = [1, 200, 3, 40, 5]
    bench.ask("a", *("word " * num for num in words))
    (reply,) = bench.replies(1)
    assert lengths(reply) == [num + 2 for num in words]
    assert isinstance(reply, Embedded)
    assert reply.text_tokens == tuple(num + 2 for num in words)


def test_texts_are_held_back_while_chat_reads_a_prompt_and_go_when_it_has(bench: Bench) -> None:
    bench.chat_is(READING)
    bench.ask("a", "one")
    assert bench.engine.step() == []
    assert bench.engine.due_in_s() is not None, "it looks again soon"
    assert bench.chat.texts_wait(100.0)
    assert bench.chat.num_in_work(100.0) == 0
    bench.chat_is(DECODING)
    assert [reply.request_id for reply in bench.replies(1)] == ["a"]


def test_a_text_held_as_long_as_it_may_goes_while_chat_still_reads(bench: Bench) -> None:
    bench.chat_is(READING)
    bench.ask("a", "one", service_class=ServiceClass.INTERACTIVE)
    assert bench.engine.step() == []
    bench.clock.advance(0.061)
    assert [reply.request_id for reply in bench.replies(1)] == ["a"]


def test_a_micro_batch_in_work_rests_until_a_prompt_is_read(bench: Bench) -> None:
    read: list[ChatNow] = []

    def end_reading() -> None:
        read.append(bench.chat.chat_now(100.0))
        bench.chat_is(DECODING)

    bench.amid_work = lambda: bench.chat_is(READING)
    bench.while_resting = end_reading
    bench.chat_is(DECODING)
    bench.ask("a", "one")
    assert [reply.request_id for reply in bench.replies(1)] == ["a"]
    assert len(read) == 1, "it rested once, and went on as soon as it might"


def test_what_rests_amid_its_work_does_not_keep_an_engine_from_closing(tmp_path: Path) -> None:
    (tmp_path / "board").touch()
    bench, is_resting = Bench(tmp_path / "board"), threading.Event()
    bench.amid_work = lambda: bench.chat_is(READING)
    bench.while_resting = is_resting.set
    bench.chat_is(DECODING)
    before = set(threading.enumerate())
    assert len(before) > 1
    bench.ask("a", "one")
    assert bench.engine.step() == []
    assert is_resting.wait(DEADLINE_MS / 1000)
    bench.engine.close()
    bench.chat.close()
    workers = [thread for thread in before if thread.name.startswith("embed-")]
    assert not [thread for thread in workers if thread.is_alive()]


def test_beside_chat_patient_texts_have_half_of_the_cpus_and_without_it_all_of_them(bench: Bench) -> None:
    may_go_on = threading.Event()
    bench.amid_work = lambda: (may_go_on.wait(DEADLINE_MS / 1000), None)[1]
    bench.chat_is(DECODING)
    for number in range(3):
        bench.ask(str(number), "word " * 120)
    assert bench.engine.step() == []
    assert bench.chat.num_in_work(100.0) == 1
    bench.chat_is(ChatNow())
    assert bench.engine.step() == []
    assert bench.chat.num_in_work(100.0) == 2
    may_go_on.set()
    bench.replies(3)


def test_a_text_behind_others_is_held_back_only_from_when_it_is_first(bench: Bench) -> None:
    bench.chat_is(READING)
    bench.ask("a", "word " * 200)
    bench.ask("b", "one")
    bench.clock.advance(1.1)
    assert [reply.request_id for reply in bench.replies(1)] == ["a"]
    assert bench.chat.texts_wait(101.1)
    assert bench.chat.num_in_work(101.1) == 0, "it came as early, and waited for the other"
    bench.clock.advance(1.0)
    bench.chat_is(READING)
    assert [reply.request_id for reply in bench.replies(1)] == ["b"]


def test_a_line_does_not_rest_before_a_text_that_somebody_waits_for(bench: Bench) -> None:
    bench.chat_is(READING)
    bench.ask("a", "word " * 200)
    bench.ask("b", "word " * 100)
    bench.ask("c", "one", service_class=ServiceClass.INTERACTIVE)
    bench.clock.advance(1.1)
    assert [reply.request_id for reply in bench.replies(3)] == ["a", "b", "c"]


def test_long_texts_behind_and_before_short_ones_all_come(bench: Bench) -> None:
    for number in range(30):
        bench.ask(str(number), "word " * (250 if number % 3 == 0 else 4))
    assert {reply.request_id for reply in bench.replies(30)} == {str(number) for number in range(30)}


def test_a_bad_text_fails_its_request_alone_and_a_cancelled_one_ends(bench: Bench) -> None:
    bench.chat_is(READING)
    bench.ask("bad", "half \ud800 a pair")
    bench.ask("gone", "two")
    bench.engine.cancel([RequestId("gone"), RequestId("unknown")])
    bench.chat_is(DECODING)
    bench.ask("good", "three")
    ended = {reply.request_id: reply for reply in bench.replies(3)}
    codes = {id: reply.failure.code for id, reply in ended.items() if isinstance(reply, Failed)}
    assert codes == {"bad": InvalidRequest.code, "gone": RequestCancelled.code}
    assert isinstance(ended[RequestId("good")], Embedded)
    assert not bench.engine.has_work()


def test_what_a_library_raises_reaches_whoever_steps() -> None:
    class Broken:
        def vectors(self, rows: Sequence[list[int]], rest: Callable[[], None] | None = None) -> NDArray[np.float32]:
            raise RuntimeError("no more memory")

    workers: EmbedWorkers[str] = EmbedWorkers(Broken, 1)
    workers.give("a", [[1]], is_meek=True)
    poll = select.poll()
    poll.register(workers.wake_fd, select.POLLIN)
    assert poll.poll(DEADLINE_MS)
    with pytest.raises(RuntimeError, match="memory"):
        workers.take_done()
    workers.close()
