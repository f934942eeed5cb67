"""Embeddings and scores with OpenVINO: an encoder and its tokenizer, a micro-batch a step. Knows no process."""

from collections.abc import Sequence

from cluster.serving.engines.embed_jobs import EmbedJobs
from cluster.serving.engines.embed_workers import RowEncoder
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from sage.base.ids import EngineId, RequestId
from sage.base.inference import ModelCard, Reply, Request

MAX_BATCH_TEXTS = 32
MAX_RUNNING = 64  # requests of one text each that make two batches: one in work, one at hand


class OpenvinoEmbed:
    """One embedding model that has the device to itself, or one that scores; an Engine.

    Vectors are means over the tokens, of length 1; scores are between 0 and 1.

    Of a text, the model sees the first `card.context_tokens` tokens (256 of all-MiniLM-L6-v2, as its card says).
    """

    wake_fd: int | None = None

    def __init__(self, info: EngineInfo, jobs: EmbedJobs, encoder: RowEncoder) -> None:
        """Work on `jobs`, whose texts `encoder` is prepared for."""
        self._info = info
        self._jobs = jobs
        self._encoder = encoder
        self.tokenizer = jobs.desk

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        self._jobs.add(requests)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._jobs.cancel(request_ids)

    def step(self) -> list[Reply]:
        texts = self._jobs.take()
        if texts:
            self._jobs.done(texts, self._encoder.vectors([text.ids for text in texts]))
        return self._jobs.replies()

    def has_work(self) -> bool:
        return self._jobs.has_work()

    def due_in_s(self) -> float | None:
        return 0.0 if self.has_work() else None

    def figures(self) -> EngineFigures | None:
        return None

    def close(self) -> None:
        self._jobs.clear()
        del self._encoder


def embed_info(engine_id: EngineId, card: ModelCard, num_threads: int) -> EngineInfo:
    """Return what such an engine says of itself."""
    device = f"CPU, {num_threads} threads"
    return EngineInfo(engine_id, "openvino", device, False, (card,), MAX_RUNNING, MAX_BATCH_TEXTS)
