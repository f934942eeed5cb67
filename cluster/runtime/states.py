"""How jobs, nodes, tenants and the plane are, as a head tells clients. Knows no message."""

import msgspec

from cluster.runtime.control import RemoteFailure
from sage.base.ids import JobId
from sage.flow.runner import JobMetrics, NodeView


class JobState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job as the head sees it. `run_id` is that of its newest run; `num_restarts` runs came before it.

    `error`: why it failed, was cancelled or was begun anew. `has_lost_results`: what its newest run collected is gone,
    with the head that kept it.
    """

    job_id: JobId
    name: str
    run_id: JobId
    metrics: JobMetrics
    num_restarts: int
    num_dead_letters: int
    submitted_unix_s: float
    is_over: bool
    error: RemoteFailure | None = None
    has_lost_results: bool = False


class NodeState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`state`: "alive", "suspect" or "draining"; `silent_s`: since it was heard; `num_refused`: as in Heartbeat."""

    view: NodeView
    state: str
    host: str
    pid: int
    epoch: int
    silent_s: float
    labels: dict[str, str] = {}
    num_refused: int = 0


class TenantState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant may ask for, and what is left of it now; None: without a limit.

    `budget_left`: of its tokens of this hour, day or month, those of requests that are open as if they took all that
    they may; below zero where some took more than was foreseen. It begins anew at `budget_ends_unix_s`.

    `num_open`: requests let in and not over, where it has a quota; `num_waiting`: those that wait for an engine. The
    tenant `*` is each that is not named: it has terms and nothing else.
    """

    name: str
    weight: float
    tokens_per_minute: int | None
    requests_per_minute: int | None
    max_waiting: int | None
    tokens_left: float | None
    requests_left: float | None
    num_open: int
    num_waiting: int
    budget_tokens: int | None = None
    budget_left: int | None = None
    budget_ends_unix_s: float | None = None


class PlaneState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control plane: how it orders what waits and chooses engines now, and its tenants."""

    policy: str
    route: str
    tenants: tuple[TenantState, ...] = ()
