"""What clients, head and nodes say to each other about the state of steps. Knows no socket and no actor.

Keys and values travel packed (`packed.py`): the head does not look into them.
"""

from cluster.runtime.control_message import ControlMessage, RemoteFailure
from sage.base.ids import JobId, TaskId


class GetState(ControlMessage, frozen=True):
    """Client to head; answered by StateAnswer: what this instance of a step keeps of a key."""

    question: int
    job_id: JobId
    step: str
    instance: int
    key: bytes


class StateAnswer(ControlMessage, frozen=True):
    """Head to client. `value` as in StateFound."""

    question: int
    value: bytes
    shown: str


class LookUpState(ControlMessage, frozen=True):
    """Head to node; answered by StateFound with the same number."""

    number: int
    run_id: JobId
    task_id: TaskId
    step: str
    key: bytes


class StateFound(ControlMessage, frozen=True):
    """Node to head. `value`: a list of one, packed; `shown`: its repr, cut. Where there is a `failure`, that counts."""

    number: int
    value: bytes
    shown: str
    failure: RemoteFailure | None
