"""What one engine holds and has room for. Knows nothing of other engines."""

from dataclasses import dataclass, field

from cluster.serving.engines.port import EngineInfo
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import RequestId
from sage.base.inference import Kind

MAX_EMBEDDING_BATCHES = 2  # one in work, one at hand: the engine never idles, and the rest can still be ordered here


@dataclass(slots=True, eq=False)
class EngineAccount:
    """What an engine holds, from the pick until the engine says that it ended.

    `load_tokens`: prompts and longest answers. `work`: the same as the route weighs them, without what is cached.
    """

    info: EngineInfo
    lanes: tuple[Lane, ...]
    held: dict[RequestId, Ticket] = field(default_factory=dict)
    load_tokens: int = 0
    work: float = 0.0
    batches: dict[int, int] = field(default_factory=dict)  # embedding batch: how many of its requests it still holds
    last_pick: int = 0
    version: int = 0
    is_retired: bool = False

    def free_slots(self) -> int:
        return self.info.max_running - len(self.held)

    def has_room(self, kind: Kind) -> bool:
        """Say whether it may be given something of `kind` now."""
        if self.is_retired:
            return False
        if kind is Kind.EMBED and len(self.batches) >= MAX_EMBEDDING_BATCHES:
            return False
        return self.free_slots() > 0
