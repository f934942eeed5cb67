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
