"""Obeys a plane machine: sends to engines, gives replies to whoever asked. Knows neither threads nor event loops.

Tokens go straight from an engine to the asker; only the ends of requests pass through the machine. All calls are made
on the one thread of the driver; a `reply_to` that calls back in is served when the event at hand is done.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.runtime.states import PlaneState
from cluster.serving.driver import Again, Driver, HeldLink
from cluster.serving.engines.host_watch import ASK_EVERY_S
from cluster.serving.engines.link import EngineLink, HostLost
from cluster.serving.engines.port import Abort, EngineInfo, FromHost, Ready, Replies, Run, Seen, StartFailed, ToHost
from cluster.serving.engines.tokenizer_port import AskTokenizer, Told
from cluster.serving.events import (
    RETIRE_S,
    AbortAt,
    Answer,
    Cancelled,
    Command,
    Dispatch,
    EndEngine,
    EngineDown,
    EngineEnded,
    EngineRetired,
    EngineSeen,
    EngineStarting,
    EngineUp,
    Event,
    FirstTokens,
    PolicyChanged,
    Submitted,
    TakeBack,
    TimePassed,
    WakeAt,
)
from cluster.serving.ordering import check_names
from cluster.serving.plane import Plane
from cluster.serving.replying import Replying
from cluster.serving.returning import Returning
from cluster.serving.statistics import PlaneView
from cluster.serving.tokenizer_questions import TokenizerQuestions
from sage.base.clock import Clock, SystemClock
from sage.base.errors import EngineLost, InternalError, InvalidRequest, NoEngine, RequestCancelled, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Last, ModelCard, ReplyTo, Request, Token
from sage.base.log import get_log


class PlaneShell:
    """Holds a plane, the links to its engines, and for each open request who asked.

    `fault` is what ended it early, if anything did: then all were answered, and it is to be closed.
    """

    def __init__(self, plane: Plane, driver: Driver, *, clock: Clock | None = None) -> None:
        self._plane = plane
        self._driver = driver
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._links: dict[EngineId, HeldLink] = {}
        self._engines_by_fd: dict[int, EngineId] = {}
        self.questions = TokenizerQuestions(plane.questions, self._links, self._ask, self._clock, lambda: self._closed)
        self._replying = Replying()
        self._events: deque[Event] = deque()
        self._models: tuple[ModelCard, ...] = ()
        self._returning = Returning(driver)
        self._plane_wake_s = self._ask_s = math.inf
        self._is_busy = False
        self._closed: SageError | None = None  # why nothing is taken any more
        self.fault: Exception | None = None

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Take `requests`; see Inference.submit. `reply_to` is hashable, as functions and methods are."""
        fresh = []
        for request in requests:
            refusal = self._refusal(request)
            if refusal is None:
                self._replying.asked(request.id, reply_to)
                fresh.append(request)
            else:
                self._replying.give(reply_to, refusal)
        self._handle(Submitted(tuple(fresh)))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._handle(Cancelled(tuple(request_ids)))

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order what waits by a policy, choose engines by a route; None: as it was. Raises UnknownPolicy before it."""
        check_names(policy, route)
        self._handle(PolicyChanged(policy, route))

    def models(self) -> tuple[ModelCard, ...]:
        """Return the models served now; may be called from any thread."""
        return self._models

    def view(self) -> PlaneView:
        return self._plane.view()

    def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        """Return what the host of an engine wrote after `mark`, or the newest; raises InvalidRequest without one."""
        held = self._links.get(engine_id)
        if held is None:
            do = "sage engines list names those that run, and says why others do not."
            raise InvalidRequest(f"no process of an engine {engine_id!r} runs now", do, param="engine")
        return held.link.log(mark)

    def state(self) -> PlaneState:
        plane = self._plane
        return PlaneState(plane.policy, plane.route, plane.tenants(self._clock.monotonic_s()))

    def attach(self, link: EngineLink, info: EngineInfo | None = None, again: Again | None = None) -> None:
        """Use an engine; `info` is what another shell knew of it. The shell owns the link until it is detached.

        Where it is lost, it is started `again`, within limits: what waits for it then waits on.

        Raises: NoEngine where the shell is closed, InternalError where an engine of this id is attached already.
        """
        if self._closed is not None:
            raise self._closed
        if link.engine_id in self._links:
            raise InternalError(f"an engine {link.engine_id!r} is attached already")
        self._returning.attached(link.engine_id)
        self._links[link.engine_id] = HeldLink(link, info, again)
        for fd in link.fds():
            self._engines_by_fd[fd] = link.engine_id
            self._driver.watch_fd(fd)
        if info is None:
            self._events.append(EngineStarting(link.engine_id, link.models))
        else:
            self._up(info)
        if link.is_asked and self._ask_s == math.inf:
            self._ask_s = self._clock.monotonic_s() + ASK_EVERY_S
            self._set_wake()
        self._drain(link.engine_id)
        self._run()

    def on_link_readable(self, fd: int) -> None:
        """Take what has come from an engine."""
        engine_id = self._engines_by_fd.get(fd)
        if engine_id is not None:
            self._drain(engine_id)
            self._run()

    def on_wake(self) -> None:
        """Handle that the time of the last `wake_at` has come."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._ask_s:
            asked = [held.link for held in self._links.values() if held.link.is_asked]
            for link in asked:
                link.ask()
            self._ask_s = now_s + ASK_EVERY_S if asked else math.inf
        if now_s >= self._plane_wake_s:
            self._plane_wake_s = math.inf
            self._handle(TimePassed())
        self._set_wake()

    def not_started(self, engine_id: EngineId, failure: Failure) -> None:
        """Take note that an engine could not be started again now; it is tried again, or given up."""
        if not self._returning.not_started(engine_id, failure, self._clock.monotonic_s()):
            self._handle(EngineDown(engine_id, failure))

    def retire(self, engine_ids: Iterable[EngineId], *, within_s: float = RETIRE_S, for_good: bool = False) -> None:
        """Have these end once they have answered what they work on, or after `within_s`.

        They begin again where there is room then, unless they end `for_good`.
        """
        for engine_id in engine_ids:
            if for_good:
                self._returning.leaves(engine_id)
            elif engine_id in self._links:
                self._returning.moves(engine_id)
            if engine_id in self._links:
                self._events.append(EngineRetired(engine_id, within_s))
        self._run()

    def end_restarts(self) -> None:
        """Start no engine again from now on."""
        self._returning.end()

    def detach_all(self) -> tuple[HeldLink, ...]:
        """Let go of all engines, ready for another shell's `attach`; what ran there is stopped and answered."""
        for engine_id in self._returning.let_go():
            self._events.append(EngineDown(engine_id, Failure.of(EngineLost("its control plane was closed"))))
        open_ids = self._replying.open_ids()
        failure = Failure.of(EngineLost("it was handed over to another control plane"))
        held_links = tuple(self._links.values())
        for held in held_links:
            if held.info is not None and open_ids:
                held.link.send(Abort(open_ids))
            self._forget(held.link.engine_id)
            self._events.append(EngineDown(held.link.engine_id, failure))
        self._run()
        return held_links

    def close(self) -> tuple[HeldLink, ...]:
        """Answer everything, refuse what comes later, and let go of all engines; their links are to be closed."""
        self._closed = self._closed or NoEngine("the control plane is closed")
        self._replying.fail_all(RequestCancelled("the control plane was closed before the request ended"))
        return self.detach_all()

    # Events in, commands out.

    def _handle(self, event: Event) -> None:
        self._events.append(event)
        self._run()

    def _run(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events or self._replying:
                while self._events:
                    self._step(self._events.popleft())
                self._replying.deliver()
        except Exception as error:  # noqa: BLE001  # the last handler of the plane: all who asked are answered
            self._break(error)
        finally:
            self._is_busy = False

    def _step(self, event: Event) -> None:
        if self.fault is not None:
            return
        for command in self._plane.handle(event, self._clock.monotonic_s()):
            self._obey(command)
        if isinstance(event, EngineUp | EngineDown):
            self._models = self._plane.models()

    def _break(self, error: Exception) -> None:
        """After a fault of our own, answer everything and take nothing any more: a wrong plane helps nobody."""
        get_log().exception("control plane failed")
        self.fault = error
        self._models = ()
        self._events.clear()
        self._closed = InternalError(f"the control plane failed: {error!r}", "Please report it.")
        self._replying.fail_all(self._closed)
        self._replying.deliver()

    def _obey(self, command: Command) -> None:
        match command:
            case Dispatch(engine_id, requests):
                self._replying.sent(requests, self._plane.policy, self._plane.route, engine_id)
                self._send(engine_id, Run(requests))
            case AbortAt(engine_id, request_ids):
                self._send(engine_id, Abort(request_ids))
            case TakeBack(engine_id, request_ids):
                if silent := self._replying.take_back(request_ids):
                    self._send(engine_id, Abort(silent))
            case EndEngine(engine_id, failure):
                if engine_id in self._links:
                    self._give_up(engine_id, failure)
            case Answer(ended):
                for last in ended:
                    self._replying.last(last)
            case WakeAt(at_s):
                self._plane_wake_s = at_s
                self._set_wake()

    def _set_wake(self) -> None:
        at_s = min(self._plane_wake_s, self._ask_s)
        if at_s < math.inf:
            self._driver.wake_at(at_s)

    def _refusal(self, request: Request) -> Failed | None:
        error = self._closed or self._replying.refusal(request)
        return Failed(request.id, Failure.of(error)) if error is not None else None

    # Engines.

    def _send(self, engine_id: EngineId, message: ToHost) -> None:
        held = self._links.get(engine_id)
        if held is None:  # given up a moment ago: the EngineDown that waits answers for it
            return
        is_sent = held.link.send(message)
        self._drain(engine_id)
        if not is_sent and engine_id in self._links:
            self._give_up(engine_id, Failure.of(EngineLost(f"engine {engine_id!r} takes no more messages")))

    def _ask(self, engine_id: EngineId, message: AskTokenizer) -> None:
        self._send(engine_id, message)
        self._run()

    def _drain(self, engine_id: EngineId) -> None:
        """Take everything that has come from an engine: tokens to their askers, the rest as events."""
        held = self._links[engine_id]
        ended: list[Last] = []
        first: list[RequestId] = []
        down: Failure | None = None
        for message in held.link.drain():
            down = self._take(held, message, ended, first) or down
        if first:
            self._events.append(FirstTokens(engine_id, tuple(first)))
        if ended:
            self._events.append(EngineEnded(engine_id, tuple(ended)))
        if down is not None:
            self._give_up(engine_id, down)

    def _take(
        self, held: HeldLink, message: FromHost | HostLost, ended: list[Last], first: list[RequestId]
    ) -> Failure | None:
        """Sort one message; return why the engine is to be given up, if it is."""
        match message:
            case Replies(replies):
                for reply in replies:
                    if not isinstance(reply, Token):
                        ended.append(reply)
                    elif self._replying.token(reply):
                        first.append(reply.request_id)
                return None
            case Seen(figures):
                self._events.append(EngineSeen(held.link.engine_id, figures))
                return None
            case Told(answer):
                self.questions.answered(held.link.engine_id, answer)
                return None
            case Ready(info=info):
                return self._ready(held, info)
            case StartFailed(failure) | HostLost(failure):
                return failure

    def _ready(self, held: HeldLink, info: EngineInfo) -> Failure | None:
        expected = held.link.engine_id
        if info.engine_id != expected or info.max_running < 1 or held.info is not None:
            return Failure.of(EngineLost(f"the host of engine {expected!r} broke the protocol: it sent {info}"))
        held.info = info
        self._up(info)
        return None

    def _up(self, info: EngineInfo) -> None:
        self._returning.ready(info.engine_id, self._clock.monotonic_s())
        self._events.append(EngineUp(info))

    def _give_up(self, engine_id: EngineId, failure: Failure) -> None:
        get_log().warning("engine lost", engine_id=engine_id, what=failure.what)
        held = self._forget(engine_id)
        held.link.close(0.0)
        is_open = self._closed is None
        comes_back = is_open and self._returning.begin(held, failure, self._clock.monotonic_s())
        self._events.append(EngineDown(engine_id, failure, held.link.models if comes_back else ()))

    def _forget(self, engine_id: EngineId) -> HeldLink:
        held = self._links.pop(engine_id)
        self.questions.lost(engine_id)
        for fd in held.link.fds():
            del self._engines_by_fd[fd]
            self._driver.unwatch_fd(fd)
        return held
