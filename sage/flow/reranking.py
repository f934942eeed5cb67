"""What a step that ranks passages anew is told. Knows nothing of how it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sage.base.inference import ServiceClass
from sage.flow.call_cache import CallCache


@dataclass(frozen=True, slots=True)
class Rerank:
    """The reply of each record is its passages, the best first by how well they answer `query`; of these the first `k`.

    `query`: as the text of Embed. `passages`: where they are: Passages or texts, each of which becomes a Passage.
    """

    model: str
    query: str | Callable[[Any], Any]
    passages: str | Callable[[Any], Any] = "passages"
    k: int | None = None
    priority: ServiceClass = ServiceClass.STANDARD
    deadline_s: float | None = None
    tenant: str = "default"
    into: str | Callable[[Any, Any], Any] | None = "passages"
    max_in_flight: int = 64
    timeout_s: float | None = None
    ordered: bool = True
    backoff_s: float = 0.0
    dedup: bool | None = None
    cache: CallCache | None = None
