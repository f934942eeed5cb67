"""LoopPlane: the plane on the thread of an event loop, as a gateway wants it. Knows nothing of HTTP."""

import asyncio
from collections.abc import Sequence

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.runtime.states import PlaneState
from cluster.serving.closing import close_links
from cluster.serving.comeback import CameBack, NotBack, begin_again
from cluster.serving.door import Door, HandedIn
from cluster.serving.driver import Again, HeldLink
from cluster.serving.engines.link import EngineLink
from cluster.serving.engines.port import EngineInfo
from cluster.serving.plane import Plane
from cluster.serving.shell import PlaneShell
from cluster.serving.statistics import PlaneView, engine_statuses
from cluster.serving.text_desk import VECTOR_CACHE_BYTES, TextDesk
from sage.base.clock import Clock, SystemClock
from sage.base.errors import DeadlineExceeded, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Inference, ModelCard, ReplyTo, Request
from sage.base.tokenizing import TokenizerAnswer, TokenizerQuestion
from sage.flow.runner import EngineStatus


class LoopPlane:
    """An Inference for callers on one event loop, where its replies come too; `door` is for all other threads.

    Adds no thread, no task, and one timer at most.
    """

    def __init__(
        self,
        plane: Plane,
        loop: asyncio.AbstractEventLoop,
        *,
        vector_cache_bytes: int = VECTOR_CACHE_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """Made and used on the thread of `loop`."""
        self._loop = loop
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._shell = PlaneShell(plane, self, clock=self._clock)
        self._texts = TextDesk(self._shell, clock=self._clock, vector_cache_bytes=vector_cache_bytes)
        self._wake: asyncio.TimerHandle | None = None
        self._again: set[asyncio.TimerHandle] = set()
        self._door = Door(self._knock, self._shell.models)

    @property
    def door(self) -> Inference:
        """The same plane for other threads; replies come on the loop's thread."""
        return self._door

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self._texts.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._texts.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return self._shell.models()

    async def ask_tokenizer(self, question: TokenizerQuestion, timeout_s: float) -> TokenizerAnswer:
        """Return what an engine answers about its tokenizer, past the queue; raises DeadlineExceeded."""
        came: asyncio.Future[TokenizerAnswer] = self._loop.create_future()
        questions = self._shell.questions

        def put(answer: TokenizerAnswer) -> None:
            if not came.done():
                came.set_result(answer)

        try:
            async with asyncio.timeout(timeout_s):
                questions.ask(question, put)
                return await came
        except TimeoutError:
            raise DeadlineExceeded(f"no answer about tokens came within {timeout_s:g} s", "Ask again.") from None
        finally:
            questions.withdraw(question.id)

    def attach(self, link: EngineLink, info: EngineInfo | None = None, again: Again | None = None) -> None:
        """Give an engine to the plane, which owns it from now on; `info` where it is ready already.

        Where it is lost, `again` starts it anew.
        """
        self._shell.attach(link, info, again)

    def release_links(self) -> tuple[HeldLink, ...]:
        """Take all engines back, ready for another plane's `attach`; what runs there is stopped and answered."""
        return self._shell.detach_all()

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order what waits by another policy, choose engines by another route, at once; raises UnknownPolicy."""
        self._shell.set_policy(policy, route=route)

    def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        """Return what the process of an engine wrote after `mark`, or the newest; raises InvalidRequest without one."""
        return self._shell.engine_log(engine_id, mark)

    def state(self) -> PlaneState:
        """Return the policy and the route in force, and the tenants."""
        return self._shell.state()

    def view(self) -> PlaneView:
        """Return the plane's numbers."""
        return self._texts.view()

    def engines(self) -> tuple[EngineStatus, ...]:
        return engine_statuses(self.view())

    async def close(self, timeout_s: float = 2.0) -> None:
        """Answer what is open and end the engines' processes; the loop goes on meanwhile."""
        self._door.close()
        held_links = self._shell.close()
        for timer in (*self._again, *([self._wake] if self._wake is not None else [])):
            timer.cancel()
        await asyncio.to_thread(close_links, held_links, timeout_s)

    # What the shell asks of whoever drives it.

    def watch_fd(self, fd: int) -> None:
        self._loop.add_reader(fd, self._shell.on_link_readable, fd)

    def unwatch_fd(self, fd: int) -> None:
        self._loop.remove_reader(fd)

    def wake_at(self, at_s: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = self._loop.call_later(max(0.0, at_s - self._clock.monotonic_s()), self._shell.on_wake)

    def start_again(self, held: HeldLink, after_s: float) -> None:
        def begin() -> None:
            self._again.discard(timer)
            begin_again(held, self._tell_came)

        timer = self._loop.call_later(after_s, begin)
        self._again.add(timer)

    def _came(self, came: CameBack | NotBack) -> None:
        if isinstance(came, NotBack):
            return self._shell.not_started(came.engine_id, came.failure)
        try:
            self._shell.attach(came.link, again=came.held.again)
        except SageError:  # the plane was closed meanwhile
            came.link.close(0.0)

    # What other threads ask.

    def _tell_came(self, came: CameBack | NotBack) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._came, came)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _knock(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._serve)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _serve(self) -> None:
        for entry in self._door.fetch():
            if isinstance(entry, HandedIn):
                self._texts.submit(entry.requests, entry.reply_to)
            else:
                self._texts.cancel(entry.request_ids)
