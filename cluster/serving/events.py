"""What happens to the plane machine, and what it orders. Knows nothing of who obeys."""

from dataclasses import dataclass

from cluster.serving.engines.port import EngineInfo
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failure, Last, Request


@dataclass(frozen=True, slots=True)
class Submitted:
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    request_ids: tuple[RequestId, ...]


@dataclass(frozen=True, slots=True)
class EngineStarting:
    """An engine that will serve these models soon: requests for them wait instead of being refused."""

    engine_id: EngineId
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineUp:
    info: EngineInfo


@dataclass(frozen=True, slots=True)
class EngineDown:
    """The engine's process ended, or never became ready.

    `comes_back`: the models that it will serve again, where it is started anew: requests for them wait.
    """

    engine_id: EngineId
    failure: Failure
    comes_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineRetired:
    """The engine is to end: it is given nothing more. EndEngine comes once it holds nothing, or after a while."""

    engine_id: EngineId


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """The first tokens of these requests have come from an engine; each request stands here at most once."""

    engine_id: EngineId
    request_ids: tuple[RequestId, ...]


@dataclass(frozen=True, slots=True)
class EngineEnded:
    """Requests that ended at an engine."""

    engine_id: EngineId
    ended: tuple[Last, ...]


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """From now on the waiting requests are ordered by the policy, and given to engines by the route, of these names
    (checked before); None: as it was."""

    policy: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A WakeAt is due."""


Event = (
    Submitted
    | Cancelled
    | EngineStarting
    | EngineUp
    | EngineDown
    | EngineRetired
    | FirstTokens
    | EngineEnded
    | PolicyChanged
    | TimePassed
)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send these to the engine, in this order, as one message."""

    engine_id: EngineId
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class AbortAt:
    """Tell the engine to stop working on these."""

    engine_id: EngineId
    request_ids: tuple[RequestId, ...]


@dataclass(frozen=True, slots=True)
class EndEngine:
    """End the engine's process: it does not obey, or has retired. EngineDown, with this failure, comes of it."""

    engine_id: EngineId
    failure: Failure


@dataclass(frozen=True, slots=True)
class Answer:
    """Give each `Last` to whoever asked; nothing more comes for these requests."""

    ended: tuple[Last, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send TimePassed at this monotonic time; a later order replaces an earlier one."""

    at_s: float


Command = Dispatch | AbortAt | EndEngine | Answer | WakeAt
