"""ControlPlane: the actor that drives the plane for streams and administration. Knows nothing of HTTP or of flows."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pykka import ActorRef

from cluster.runtime.actor import Actor, Query, ask, stop, tell
from cluster.runtime.scheduler import Scheduler
from cluster.runtime.states import PlaneState
from cluster.serving.closing import close_links
from cluster.serving.comeback import CameBack, NotBack, begin_again
from cluster.serving.door import Door, HandedIn
from cluster.serving.driver import Again, HeldLink
from cluster.serving.engines.link import EngineLink
from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import RETIRE_S
from cluster.serving.plane import Plane
from cluster.serving.shell import PlaneShell
from cluster.serving.statistics import PlaneView, engine_statuses
from cluster.serving.text_desk import VECTOR_CACHE_BYTES, TextDesk
from sage.base.clock import Clock
from sage.base.errors import SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import ModelCard, ReplyTo, Request
from sage.flow.runner import EngineStatus

_ANSWER_S = 10.0  # the actor never waits; this long means that its thread is stuck
_LAST_CLOSE_S = 0.5  # for engines still attached when the actor ends without having been closed


@dataclass(frozen=True, slots=True)
class Knock:
    """Something was handed in at the door."""


@dataclass(frozen=True, slots=True)
class GetDoor(Query[Door]):
    pass


@dataclass(frozen=True, slots=True)
class AttachEngine(Query[None]):
    link: EngineLink
    info: EngineInfo | None
    again: Again | None = None


@dataclass(frozen=True, slots=True)
class SetPolicy(Query[None]):
    policy: str | None
    route: str | None


@dataclass(frozen=True, slots=True)
class GetPlaneState(Query[PlaneState]):
    pass


@dataclass(frozen=True, slots=True)
class GetView(Query[PlaneView]):
    pass


@dataclass(frozen=True, slots=True)
class ReleaseLinks(Query[tuple[HeldLink, ...]]):
    pass


@dataclass(frozen=True, slots=True)
class RetireEngines:
    """Have these end in good order, and begin again where there is room then, unless they end `for_good`."""

    engine_ids: tuple[EngineId, ...]
    within_s: float
    for_good: bool


@dataclass(frozen=True, slots=True)
class EndRestarts:
    """Start no engine again from now on."""


@dataclass(frozen=True, slots=True)
class CloseEngines(Query[None]):
    timeout_s: float


Message = (
    Knock
    | GetDoor
    | AttachEngine
    | SetPolicy
    | GetPlaneState
    | GetView
    | ReleaseLinks
    | RetireEngines
    | EndRestarts
    | CameBack
    | NotBack
    | CloseEngines
)


@dataclass(frozen=True, slots=True, eq=False)
class _Again:
    """A timer: an engine that was lost is due to be started again."""

    held: HeldLink


class ControlPlane(Actor[Message]):
    """Drives a plane on its own thread, which owns the engines' sockets too. Not restarted: engines are its state."""

    def __init__(
        self,
        plane: Plane,
        *,
        vector_cache_bytes: int = VECTOR_CACHE_BYTES,
        clock: Clock | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        super().__init__("control-plane", clock=clock, scheduler=scheduler)
        self._shell = PlaneShell(plane, self, clock=self.clock)
        self._texts = TextDesk(self._shell, clock=self.clock, vector_cache_bytes=vector_cache_bytes)
        self._door = Door(lambda: tell(self.actor_ref, Knock()), self._shell.models)

    def wake_at(self, at_s: float) -> None:
        self.set_timer("wake", max(0.0, at_s - self.clock.monotonic_s()))

    def start_again(self, held: HeldLink, after_s: float) -> None:
        self.set_timer(_Again(held), after_s)

    def receive(self, message: Message) -> object:
        answer = self._handle(message)
        self._check()
        return answer

    def on_readable(self, fd: int) -> None:
        self._shell.on_link_readable(fd)
        self._check()

    def on_timer(self, timer_id: Hashable) -> None:
        if isinstance(timer_id, _Again):
            ref = self.actor_ref
            begin_again(timer_id.held, lambda came: tell(ref, came))
        else:
            self._shell.on_wake()
        self._check()

    def on_stop(self) -> None:
        self._close(_LAST_CLOSE_S)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(_LAST_CLOSE_S)

    def _handle(self, message: Message) -> object:
        match message:
            case Knock():
                self._serve()
            case GetDoor():
                return self._door
            case AttachEngine(link, info, again):
                self._shell.attach(link, info, again)
            case CameBack():
                self._came_back(message)
            case NotBack(engine_id, failure):
                self._shell.not_started(engine_id, failure)
            case RetireEngines(engine_ids, within_s, for_good):
                self._shell.retire(engine_ids, within_s=within_s, for_good=for_good)
            case EndRestarts():
                self._shell.end_restarts()
            case SetPolicy(policy, route):
                self._shell.set_policy(policy, route=route)
            case GetPlaneState():
                return self._shell.state()
            case GetView():
                return self._texts.view()
            case ReleaseLinks():
                return self._shell.detach_all()
            case CloseEngines(timeout_s):
                self._close(timeout_s)
        return None

    def _came_back(self, came: CameBack) -> None:
        try:
            self._shell.attach(came.link, again=came.held.again)
        except SageError:  # it was closed, or the engine was started by somebody else meanwhile
            came.link.close(0.0)

    def _check(self) -> None:
        """Fail, so that whoever watches learns of it, where the shell has broken."""
        if self._shell.fault is not None:
            raise self._shell.fault

    def _serve(self) -> None:
        for entry in self._door.fetch():
            if isinstance(entry, HandedIn):
                self._texts.submit(entry.requests, entry.reply_to)
            else:
                self._texts.cancel(entry.request_ids)

    def _close(self, timeout_s: float) -> None:
        self._door.close()
        close_links(self._shell.close(), timeout_s, clock=self.clock)


class PlaneClient:
    """The control-plane actor seen from any other thread; an Inference."""

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref
        self._door = ask(ref, GetDoor(), timeout_s=_ANSWER_S)

    @property
    def ref(self) -> ActorRef[Any]:
        """The actor, to be watched."""
        return self._ref

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self._door.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._door.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return self._door.models()

    def attach(self, link: EngineLink, info: EngineInfo | None = None, again: Again | None = None) -> None:
        """Give an engine to the plane, which owns it from now on; `info` where it is ready already.

        Where it is lost, `again` starts it anew.

        Raises what the plane raised, or ActorSilent where it has ended; the link is closed then.
        """
        try:
            ask(self._ref, AttachEngine(link, info, again), timeout_s=_ANSWER_S)
        except SageError:
            link.close(0.0)
            raise

    def release_links(self) -> tuple[HeldLink, ...]:
        """Take all engines back, ready for another plane's `attach`; what runs there is stopped and answered."""
        return ask(self._ref, ReleaseLinks(), timeout_s=_ANSWER_S)

    def retire(self, engine_ids: Iterable[EngineId], *, within_s: float = RETIRE_S, for_good: bool = False) -> None:
        """Have engines end once they have answered what they work on, or after `within_s`.

        They begin again where there is room then, unless they end `for_good`.
        """
        tell(self._ref, RetireEngines(tuple(engine_ids), within_s, for_good))

    def end_restarts(self) -> None:
        """Start no engine again from now on."""
        tell(self._ref, EndRestarts())

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order what waits by another policy, choose engines by another route, at once; raises UnknownPolicy."""
        ask(self._ref, SetPolicy(policy, route), timeout_s=_ANSWER_S)

    def state(self) -> PlaneState:
        """Return the policy and the route in force, and the tenants."""
        return ask(self._ref, GetPlaneState(), timeout_s=_ANSWER_S)

    def view(self) -> PlaneView:
        """Return the plane's numbers."""
        return ask(self._ref, GetView(), timeout_s=_ANSWER_S)

    def engines(self) -> tuple[EngineStatus, ...]:
        return engine_statuses(self.view())

    def close(self, timeout_s: float = 2.0) -> list[str]:
        """Answer what is open, end the engines' processes, then the actor; return the names of threads left."""
        if self._ref.is_alive():
            ask(self._ref, CloseEngines(timeout_s), timeout_s=timeout_s + _ANSWER_S)
        return stop([self._ref], timeout_s=timeout_s)


def start_control_plane(
    plane: Plane, *, vector_cache_bytes: int = VECTOR_CACHE_BYTES, clock: Clock | None = None
) -> PlaneClient:
    """Start a control-plane actor that drives `plane`, without engines. To be closed."""
    return PlaneClient(ControlPlane.start(plane, vector_cache_bytes=vector_cache_bytes, clock=clock))
