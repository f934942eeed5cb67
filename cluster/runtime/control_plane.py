"""What clients ask a head of its control plane: messages of `control_clients`. Knows no socket and no actor."""

from cluster.runtime.control import ControlMessage
from cluster.runtime.states import PlaneState
from sage.base.inference import Kind


class ServeModel(ControlMessage, frozen=True):
    """Have engines of a model run that do this, unless some do; answered by Done once they start."""

    question: int
    model: str
    kind: Kind


class GetPlane(ControlMessage, frozen=True):
    """Answered by PlaneShown."""

    question: int


class ChangePolicy(ControlMessage, frozen=True):
    """Order what waits by this policy, and choose engines by this route, at once; None: as it was. By PlaneShown."""

    question: int
    policy: str | None
    route: str | None


class PlaneShown(ControlMessage, frozen=True):
    question: int
    state: PlaneState


class StartEngine(ControlMessage, frozen=True):
    """Have an engine run from now on; answered by Done once it starts, or waits for room. `spec`: in JSON."""

    question: int
    spec: str


class EndEngines(ControlMessage, frozen=True):
    """End an engine, or all replicas of one, for good; answered by Done once they were told to. Not `at_once`: they
    answer first what they work on."""

    question: int
    name: str
    at_once: bool


class ScaleEngines(ControlMessage, frozen=True):
    """Have so many replicas of an engine run; answered by Done once what is new starts, and what is not wanted ends."""

    question: int
    name: str
    num_replicas: int


TendEngines = StartEngine | EndEngines | ScaleEngines
PlaneOrder = ServeModel | TendEngines
