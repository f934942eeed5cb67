"""A plan without its code, as it travels: what the head needs to place and watch a job. Knows no user function."""

from typing import Literal

import msgspec

from sage.base.demand import Demand
from sage.flow.plan import Routing, Side
from sage.flow.state_form_value import StateForm

StepKind = Literal[
    "read", "generate", "embed", "index_into", "retrieve", "rerank", "write", "for_each", "from_chat", "reply", "other"
]


class StepOutline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`uses`: the model that a step asks or answers as, or the index that it fills or searches; "" for the others.

    `has_state`: it keeps something for each key that can be asked for. `form`: that of all it keeps; None: it has none.
    """

    name: str
    kind: StepKind
    inputs: tuple[str, ...]
    file: str
    line: int
    parallelism: int
    demand: Demand
    uses: str = ""
    has_state: bool = False
    raw: bool = False
    form: StateForm | None = None


class ChainOutline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`steps`: names, in order; `id` is the first."""

    id: str
    steps: tuple[str, ...]
    parallelism: int
    demand: Demand


class ChannelOutline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    target: str
    routing: Routing
    side: Side | None = None
    port: int | None = None


class PlanOutline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps in topological order, chains and channels as in `sage.flow.plan.Plan`."""

    name: str
    steps: tuple[StepOutline, ...]
    chains: tuple[ChainOutline, ...]
    channels: tuple[ChannelOutline, ...]

    def asks(self) -> tuple[str, ...]:
        """Return the models that the flow asks."""
        return tuple(dict.fromkeys(step.uses for step in self.steps if step.kind in ("generate", "embed")))

    def chats(self) -> dict[str, str]:
        """Return the names that the flow answers as, each with the step that takes its requests."""
        return {step.uses: step.name for step in self.steps if step.kind == "from_chat"}
