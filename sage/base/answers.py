"""What models answer, whole, as whoever asked from Python gets it. Knows nothing of how it was asked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sage.base.ids import EngineId
from sage.base.inference import Served, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that a model generated. `reason`: it was at its end ("stop"), or as long as it may be ("length").

    `served`: by which policy, route and engine; None where a flow answered.
    """

    text: str
    reason: Literal["stop", "length"]
    usage: Usage
    engine_id: EngineId
    served: Served | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Vectors of texts, in their order: `vectors` float32 [num_texts, dim], each of length 1.

    `served`: by which policies, routes and engines, each once; a long list is split among several.
    """

    vectors: "NDArray[np.float32]"
    usage: Usage
    served: tuple[Served, ...]


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One of the documents given: its place among them, how well it answers the query, and its text."""

    index: int
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents by how well they answer a query, the best first. `served` as of Embeddings."""

    results: tuple[RankedDocument, ...]
    usage: Usage
    served: tuple[Served, ...]
