"""What models answer, whole, as whoever asked from Python gets it. Knows nothing of how it was asked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sage.base.ids import EngineId
from sage.base.inference import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that a model generated. `reason`: it was at its end ("stop"), or as long as it may be ("length")."""

    text: str
    reason: Literal["stop", "length"]
    usage: Usage
    engine_id: EngineId


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Vectors of texts, in their order: `vectors` float32 [num_texts, dim], each of length 1.

    `engine_ids`: the engines that made them; a long list is split among several.
    """

    vectors: "NDArray[np.float32]"
    usage: Usage
    engine_ids: tuple[EngineId, ...]
