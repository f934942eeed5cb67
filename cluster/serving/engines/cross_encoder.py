"""A cross-encoder in a folder: its files, how its pairs are joined, what its scores are and how long pairs may be.

Knows no request and no engine.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from cluster.serving.engines.openvino_encoder import Activation, Encoder, Seam, scored
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
    seam: Seam | None
    activation: Activation

    def encoder(self, num_threads: int, staged_tokens: int) -> Encoder:
        """Return it loaded; `staged_tokens` as of Encoder."""
        head = partial(scored, activation=self.activation)
        return Encoder(self.model, num_threads, staged_tokens=staged_tokens, head=head, seam=self.seam)


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
    config = _config(folder / "config.json")
    card = ModelCard(name, (Kind.SCORE,), min(_CONTEXT_TOKENS, _positions(config, folder)))  # all shapes are prepared
    return CrossEncoder(card, model, tokenizer, _seam(tokenizer), _activation(config, folder))


def _seam(tokenizer: Path) -> Seam | None:
    """Return how the tokenizer joins pairs; None where it gives both parts the same type, as RoBERTa's does."""
    pair = Tokenizer.from_file(str(tokenizer)).encode("a", "a")
    if 1 not in pair.type_ids:
        return None
    begins = pair.type_ids.index(1)
    first_ends = max(at for at, part in enumerate(pair.sequence_ids) if part == 0) + 1
    if first_ends >= begins:
        what = f"{tokenizer} puts nothing between the two parts of a pair, and the model tells them apart"
        raise EngineStartFailed(
            what, "Serve it by an engine of its own: openai:URL,role=rerank or vllm:MODEL,role=rerank."
        )
    return Seam(pair.ids[first_ends], begins - first_ends)


def _config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text())
    except ValueError as error:
        raise EngineStartFailed(f"{file} is no configuration of a model: {error}") from error
    if not isinstance(said, dict):
        raise EngineStartFailed(f"{file} is no configuration of a model: it holds a {type(said).__name__}")
    return said


def _positions(config: dict[str, Any], folder: Path) -> int:
    said = config.get("max_position_embeddings", _CONTEXT_TOKENS)
    if not isinstance(said, int) or said < 1:
        raise EngineStartFailed(f"{folder}/config.json is no configuration of a model: {said!r} positions")
    return said


def _activation(config: dict[str, Any], folder: Path) -> Activation:
    """Return what the model's maker says, in the two ways of sentence-transformers; where nothing is said, a sigmoid.

    The same as sentence-transformers and vLLM do for models of one label.
    """
    newer = config.get("sentence_transformers")
    said = newer.get("activation_fn") if isinstance(newer, dict) else None
    said = said or config.get("sbert_ce_default_activation_function") or Activation.SIGMOID.value
    found = next((each for each in Activation if str(said).rpartition(".")[2] == each.value), None)
    if found is None:
        known = " and ".join(each.value for each in Activation)
        what = f"{folder}/config.json wants scores made by {said}, and known are {known}"
        raise EngineStartFailed(what, "Serve it by vLLM: vllm:MODEL,role=rerank.")
    return found
