"""Embeddings with OpenVINO: a BERT encoder and its tokenizer, a micro-batch a step. Knows no process and no plane."""

import itertools
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from tokenizers import Tokenizer

from cluster.serving.engines.checks import cancelled, check_texts, failed, served_card
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.micro_batch import next_texts, padded_length, shapes
from cluster.serving.engines.port import EngineInfo
from sage.base.errors import SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, ModelCard, Reply, Request, Usage

MAX_BATCH_TEXTS = 32
MAX_RUNNING = 64  # requests of one text each that make two batches: one in work, one at hand
_WINDOW_TEXTS = 128  # waiting texts among which those of one length are looked for
_MAX_CHARS_PER_TOKEN = 32  # a text is cut there before it is tokenised; beyond it the model sees nothing anyway


@dataclass(slots=True)
class _Job:
    """A request in work. `vectors` float32 [num_texts, dim]."""

    id: RequestId
    vectors: NDArray[np.float32]
    num_left: int
    text_tokens: tuple[int, ...]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Text:
    job: _Job
    row: int
    ids: list[int]


class OpenvinoEmbed:
    """One embedding model; an Engine. Vectors are means over the tokens, of length 1.

    Of a text, the model sees the first `card.context_tokens` tokens (256 of all-MiniLM-L6-v2, as its card says).
    """

    wake_fd: int | None = None

    def __init__(
        self, engine_id: EngineId, card: ModelCard, model: Path, tokenizer: Path, *, num_threads: int | None = None
    ) -> None:
        """Load and prewarm `model` (ONNX or OpenVINO IR) with its `tokenizer` (tokenizer.json)."""
        threads = num_threads or os.cpu_count() or 1
        assert card.dim is not None, card
        self._dim = card.dim
        self._context_tokens = card.context_tokens
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(card.context_tokens)
        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        core = ov.Core()
        pooled = _pooled(core.read_model(str(model)))
        self._names = [port.any_name for port in pooled.inputs]
        self._infer = core.compile_model(pooled, "CPU", properties).create_infer_request()
        device = f"CPU, {threads} threads"
        self._info = EngineInfo(engine_id, "openvino", device, False, (card,), MAX_RUNNING, MAX_BATCH_TEXTS)
        self._jobs: dict[RequestId, _Job] = {}
        self._waiting: deque[_Text] = deque()
        self._replies: list[Reply] = []
        for num, length in shapes(card.context_tokens):
            self._vectors([[0] * length] * num)

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                self._start(request)
            except SageError as error:
                self._replies.append(failed(request.id, error))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            job = self._jobs.pop(request_id, None)
            if job is not None:
                job.ended = True
                self._replies.append(cancelled(request_id))

    def step(self) -> list[Reply]:
        batch = self._next_batch()
        if batch:
            vectors = self._vectors([text.ids for text in batch])
            for text, vector in zip(batch, vectors, strict=True):
                text.job.vectors[text.row] = vector
                self._done(text.job)
        replies, self._replies = self._replies, []
        return replies

    def has_work(self) -> bool:
        return bool(self._jobs or self._replies)

    def due_in_s(self) -> float | None:
        return 0.0 if self.has_work() else None

    def figures(self) -> EngineFigures | None:
        return None

    def close(self) -> None:
        self._jobs.clear()
        self._waiting.clear()
        self._replies.clear()
        del self._infer

    def _start(self, request: Request) -> None:
        assert request.id not in self._jobs, request.id
        served_card(request, self._info)
        assert isinstance(request, EmbedRequest), request  # no card of ours does anything else
        check_texts(request)
        longest = self._context_tokens * _MAX_CHARS_PER_TOKEN
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch([text[:longest] for text in request.texts])]
        vectors = np.empty((len(rows), self._dim), np.float32)
        job = _Job(request.id, vectors, len(rows), tuple(map(len, rows)))
        self._jobs[request.id] = job
        self._waiting.extend(_Text(job, number, ids) for number, ids in enumerate(rows))

    def _next_batch(self) -> list[_Text]:
        """Take the texts of the next go out of those that wait; the others keep their order."""
        num = min(_WINDOW_TEXTS, len(self._waiting))
        window = [text for text in itertools.islice(self._waiting, num) if not text.job.ended]
        for _ in range(num):
            self._waiting.popleft()
        chosen = set(next_texts([len(text.ids) for text in window])) if window else set()
        self._waiting.extendleft(text for n, text in reversed(list(enumerate(window))) if n not in chosen)
        return [text for n, text in enumerate(window) if n in chosen]

    def _vectors(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return float32 [num_rows, dim]; valid until the next call."""
        shape = (len(rows), padded_length(max(map(len, rows))))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
        self._infer.infer({name: inputs[name] for name in self._names}, share_inputs=True)
        vectors: NDArray[np.float32] = self._infer.get_output_tensor(0).data
        return vectors

    def _done(self, job: _Job) -> None:
        job.num_left -= 1
        if job.num_left == 0 and not job.ended:
            job.ended = True
            del self._jobs[job.id]
            usage = Usage(prompt_tokens=sum(job.text_tokens))
            data = job.vectors.astype("<f4", copy=False).tobytes()
            self._replies.append(Embedded(job.id, data, self._dim, usage, self._info.engine_id, job.text_tokens))


def _pooled(encoder: ov.Model) -> ov.Model:
    """Return `encoder` (hidden states [batch, length, dim]) with the mean over the mask, of length 1, as its output."""
    mask = next(port for port in encoder.inputs if "attention_mask" in port.names)
    hidden = encoder.output(0).get_node().input_value(0)
    weights = ops.unsqueeze(ops.convert(mask, np.float32), np.int64(2))
    total = ops.reduce_sum(ops.multiply(hidden, weights), np.int64(1))  # the norm makes the sum a mean
    return ov.Model([ops.normalize_l2(total, np.int64(1), 1e-12, "max")], encoder.get_parameters(), "pooled")
