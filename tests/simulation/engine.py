"""An engine host without a process: a SimulatedEngine in virtual time, and the way to it. Knows no plane."""

from collections import deque
from dataclasses import replace
from typing import Literal

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.cost import CPU2
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import (
    WIRE_VERSION,
    Abort,
    FromHost,
    Ready,
    Replies,
    Run,
    Shutdown,
    StartFailed,
    ToHost,
)
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.tokenizer_port import AskTokenizer, Told
from sage.base.errors import EngineLost, EngineStartFailed, InvalidRequest
from sage.base.ids import EngineId
from sage.base.inference import Failure
from tests.simulation.clock import Happening
from tests.simulation.world import World

_ROUNDING_S = 1e-9  # an engine that is a rounding error early does nothing, and would be asked for ever

Death = Literal["lost", "full"]
"""How a host ends before its time: its process is gone, or it takes no more messages."""


class SimulatedLink:
    """An EngineLink; each message is on its way for up to `latency_s`, in order both ways."""

    def __init__(self, world: World, engine_id: EngineId, model: str, *, max_running: int, latency_s: float) -> None:
        self.engine_id = engine_id
        self.models: tuple[str, ...] = (model,)
        self.is_asked = False
        self.is_closed = False
        self._world = world
        self._engine = SimulatedEngine(engine_id, model, replace(CPU2, max_running=max_running), world.clock)
        self._latency_s = latency_s
        self._fd = world.new_fd()
        self._came: deque[FromHost | HostLost] = deque()
        self._there_s = 0.0  # when what was sent last arrives
        self._here_s = 0.0
        self._is_over = False  # nothing comes from the host any more
        self._takes_messages = True
        self._num_planned = 0

    # What the plane's shell calls.

    def fds(self) -> tuple[int, ...]:
        return (self._fd,)

    def log(self, mark: LogMark | None) -> EngineLog:
        raise InvalidRequest(f"nobody writes a log for {self.engine_id}")

    def send(self, message: ToHost) -> bool:
        if self.is_closed or self._is_over or not self._takes_messages:
            return False
        self._there_s = self._arrival_s(self._there_s)
        self._at(self._there_s, lambda: self._obey(message))
        return True

    def drain(self) -> list[FromHost | HostLost]:
        self._world.set_readable(self._fd, is_readable=False)
        came = list(self._came)
        self._came.clear()
        return came

    def ask(self) -> None:
        """It never hangs."""

    def close(self, timeout_s: float) -> None:
        self.is_closed = self._is_over = True
        self._came.clear()

    # What the test has happen.

    def start(self, after_s: float, *, well: bool) -> None:
        """Have the host say, after so long, that it is ready, or that it cannot start."""
        failure = Failure.of(EngineStartFailed(f"engine {self.engine_id} cannot start, says the simulation"))
        message: FromHost = Ready(WIRE_VERSION, self._engine.info()) if well else StartFailed(failure)
        self._world.later(after_s, lambda: self._say(message, is_last=not well))

    def die(self, how: Death) -> None:
        """Have the process end now; what it had sent before still comes."""
        if how == "full":
            self._takes_messages = False
        else:
            self._say(HostLost(Failure.of(EngineLost("the simulation ended its host"))), is_last=True)

    # The far end.

    def _obey(self, message: ToHost) -> None:
        if self._is_over:
            return
        match message:
            case Run(requests):
                self._engine.add(requests)
            case Abort(request_ids):
                self._engine.cancel(request_ids)
            case AskTokenizer(question):
                self._engine.tokenizer.ask(question)
                for answer in self._engine.tokenizer.answers():
                    self._say(Told(answer))
            case Shutdown():
                self._is_over = True
        self._plan()

    def _plan(self) -> None:
        """Have the engine go on when it is due; a later plan replaces an earlier one."""
        due_in_s = self._engine.due_in_s()
        self._num_planned += 1
        number = self._num_planned
        if due_in_s is not None and not self._is_over:
            self._world.later(due_in_s + _ROUNDING_S, lambda: self._go_on(number))

    def _go_on(self, number: int) -> None:
        if self._is_over or number != self._num_planned:
            return
        replies = self._engine.step()
        if replies:
            self._say(Replies(tuple(replies)))
        self._plan()

    def _say(self, message: FromHost | HostLost, *, is_last: bool = False) -> None:
        if self._is_over:
            return
        self._is_over = is_last
        self._here_s = self._arrival_s(self._here_s)
        self._at(self._here_s, lambda: self._arrive(message))

    def _arrive(self, message: FromHost | HostLost) -> None:
        if not self.is_closed:
            self._came.append(message)
            self._world.set_readable(self._fd)

    def _arrival_s(self, before_s: float) -> float:
        """Return when a message sent now arrives: never before those that were sent before it."""
        now_s = self._world.clock.monotonic_s()
        return max(before_s + 1e-9, now_s + self._world.rng.random() * self._latency_s)

    def _at(self, at_s: float, happening: Happening) -> None:
        self._world.later(at_s - self._world.clock.monotonic_s(), happening)
