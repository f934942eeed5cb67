"""Requests about texts in work at an engine: texts, or pairs, as tokens in micro-batches, and what came of each.

Runs no model.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cluster.serving.engines.checks import cancelled, check_texts, failed, served_card
from cluster.serving.engines.encoder_tokens import EncoderTokens
from cluster.serving.engines.micro_batch import BUDGET_TOKENS, next_texts
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.tokenizer_desk import OwnDesk
from sage.base.errors import SageError
from sage.base.ids import RequestId
from sage.base.inference import (
    Embedded,
    EmbedRequest,
    Kind,
    ModelCard,
    Reply,
    Request,
    ScoreRequest,
    ServiceClass,
    TextsRequest,
    Usage,
)

_WINDOW_TEXTS = 128  # waiting texts among which those of one length are looked for
_MAX_CHARS_PER_TOKEN = 32  # a text is cut there before it is tokenised; beyond it the model sees nothing anyway


@dataclass(slots=True, eq=False)
class EmbedJob:
    """A request in work, which came at `came_s`. `vectors` float32 [num_texts, dim]."""

    id: RequestId
    vectors: NDArray[np.float32]
    num_left: int
    text_tokens: tuple[int, ...]
    service_class: ServiceClass
    timeout_s: float | None
    came_s: float
    ended: bool = False


@dataclass(slots=True, eq=False)
class Text:
    """A text in work: row `row` of its request."""

    job: EmbedJob
    row: int
    ids: list[int]
    is_done: bool = False


class EmbedJobs:
    """Holds requests from `add` to their end; of a text, the model sees the first `card.context_tokens` tokens.

    Of a pair that is longer it sees less of the longer part.
    """

    def __init__(self, info: EngineInfo, card: ModelCard, tokenizer: Path) -> None:
        self._info = info
        self._dim = card.dim or 1  # a score
        self._context_tokens = card.context_tokens
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = Kind.SCORE in card.kinds  # a text with "[SEP]" in it stays one part
        self._tokenizer.enable_truncation(card.context_tokens)
        self.desk = OwnDesk(card, EncoderTokens(card, tokenizer))
        self._jobs: dict[RequestId, EmbedJob] = {}
        self._waiting: deque[Text] = deque()
        self._replies: list[Reply] = []

    def add(self, requests: Sequence[Request], now_s: float = 0.0) -> None:
        for request in requests:
            try:
                self._start(request, now_s)
            except SageError as error:
                self._replies.append(failed(request.id, error))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            job = self._jobs.pop(request_id, None)
            if job is not None:
                job.ended = True
                self._replies.append(cancelled(request_id))

    def oldest(self) -> EmbedJob | None:
        """Return the request of the text that has waited longest; None where none waits."""
        while self._waiting and self._waiting[0].job.ended:
            self._waiting.popleft()
        return self._waiting[0].job if self._waiting else None

    def has_interactive(self) -> bool:
        """Say whether somebody waits for one of the requests in work."""
        return any(job.service_class is ServiceClass.INTERACTIVE for job in self._jobs.values())

    def take(self, budget_tokens: int = BUDGET_TOKENS) -> list[Text]:
        """Take the texts of the next micro-batch out of those that wait; the others keep their order."""
        num = min(_WINDOW_TEXTS, len(self._waiting))
        window = [text for text in itertools.islice(self._waiting, num) if not text.job.ended]
        for _ in range(num):
            self._waiting.popleft()
        chosen = set(next_texts([len(text.ids) for text in window], budget_tokens)) if window else set()
        self._waiting.extendleft(text for n, text in reversed(list(enumerate(window))) if n not in chosen)
        return [text for n, text in enumerate(window) if n in chosen]

    def done(self, texts: Sequence[Text], vectors: NDArray[np.float32]) -> None:
        """Note the vectors of texts that were taken, float32 [num_texts, dim]; a second time changes nothing."""
        for text, vector in zip(texts, vectors, strict=True):
            if not text.is_done:
                text.is_done = True
                text.job.vectors[text.row] = vector
                self._end_if_whole(text.job)

    def has_work(self) -> bool:
        return bool(self._jobs or self._replies)

    def has_replies(self) -> bool:
        return bool(self._replies)

    def replies(self) -> list[Reply]:
        """Return what has ended since the last call."""
        replies, self._replies = self._replies, []
        return replies

    def clear(self) -> None:
        self._jobs.clear()
        self._waiting.clear()
        self._replies.clear()

    def _start(self, request: Request, now_s: float) -> None:
        assert request.id not in self._jobs, request.id
        served_card(request, self._info)
        assert isinstance(request, TextsRequest), request  # no card of ours does anything else
        check_texts(request)
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(self._inputs(request))]
        vectors = np.empty((len(rows), self._dim), np.float32)
        tokens = tuple(map(len, rows))
        job = EmbedJob(request.id, vectors, len(rows), tokens, request.service_class, request.timeout_s, now_s)
        self._jobs[request.id] = job
        self._waiting.extend(Text(job, number, ids) for number, ids in enumerate(rows))

    def _inputs(self, request: EmbedRequest | ScoreRequest) -> list[str] | list[tuple[str, str]]:
        longest = self._context_tokens * _MAX_CHARS_PER_TOKEN
        texts = [text[:longest] for text in request.texts]
        return texts if isinstance(request, EmbedRequest) else [(request.query[:longest], text) for text in texts]

    def _end_if_whole(self, job: EmbedJob) -> None:
        job.num_left -= 1
        if job.num_left == 0 and not job.ended:
            job.ended = True
            del self._jobs[job.id]
            usage = Usage(prompt_tokens=sum(job.text_tokens))
            data = job.vectors.astype("<f4", copy=False).tobytes()
            self._replies.append(Embedded(job.id, data, self._dim, usage, self._info.engine_id, job.text_tokens))
