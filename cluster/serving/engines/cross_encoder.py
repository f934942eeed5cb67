"""A cross-encoder in a folder: its files, and how long its pairs may be. Knows no request and no engine."""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from cluster.serving.engines.openvino_encoder import Encoder, scored
from sage.base.errors import EngineStartFailed
from sage.base.inference import Kind, ModelCard

MODEL_FILES = ("openvino_model.xml", "model.onnx", "onnx/model.onnx")
_CONTEXT_TOKENS = 512  # BERT's, where no config.json says


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """What was found; `encoder` loads it."""

    card: ModelCard
    model: Path
    tokenizer: Path
    separator: int | None

    def encoder(self, num_threads: int, staged_tokens: int) -> Encoder:
        """Return it loaded; `staged_tokens` as of Encoder."""
        return Encoder(self.model, num_threads, staged_tokens=staged_tokens, head=scored, separator=self.separator)


def found_in(folder: Path, name: str) -> CrossEncoder:
    """Return the model in `folder`, to be served as `name`: `tokenizer.json` and one of MODEL_FILES, as transformers
    and optimum write them.

    Raises: EngineStartFailed.
    """
    model = next((folder / file for file in MODEL_FILES if (folder / file).is_file()), None)
    tokenizer = folder / "tokenizer.json"
    if model is None or not tokenizer.is_file():
        what = f"{folder} is no folder of a cross-encoder: it has no {'tokenizer.json' if model else MODEL_FILES[0]}"
        raise EngineStartFailed(what, f"It holds tokenizer.json and one of {', '.join(MODEL_FILES)}.")
    pair = Tokenizer.from_file(str(tokenizer)).encode("a", "a")
    first_ends = pair.type_ids.index(1) - 1 if 1 in pair.type_ids else None
    separator = None if first_ends is None else pair.ids[first_ends]
    return CrossEncoder(ModelCard(name, (Kind.SCORE,), _context_tokens(folder)), model, tokenizer, separator)


def _context_tokens(folder: Path) -> int:
    config = folder / "config.json"
    if not config.is_file():
        return _CONTEXT_TOKENS
    try:
        said = json.loads(config.read_text()).get("max_position_embeddings", _CONTEXT_TOKENS)
        return min(_CONTEXT_TOKENS, int(said))  # shapes up to it are prepared at start
    except (ValueError, TypeError, AttributeError) as error:
        raise EngineStartFailed(f"{config} is no configuration of a model: {error}") from error
