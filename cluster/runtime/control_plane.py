"""What clients ask a head of its control plane: messages of `control_clients`. Knows no socket and no actor."""

from cluster.runtime.control import ControlMessage
from sage.base.inference import Kind


class ServeModel(ControlMessage, frozen=True):
    """Have engines of a model run that do this, unless some do; answered by Done once they start."""

    question: int
    model: str
    kind: Kind
