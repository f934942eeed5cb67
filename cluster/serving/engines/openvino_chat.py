"""Generation with OpenVINO GenAI: continuous batching, an iteration a step. Knows nothing of processes or the plane."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from openvino import Tensor
from openvino_genai import py_openvino_genai as genai

from cluster.serving.engines.checks import (
    answer_tokens,
    cancelled,
    check_prompt,
    check_sampling,
    failed,
    served_card,
)
from cluster.serving.engines.detokenise import Tail, next_pieces
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.prompt_tokens import PromptTokens, reason_of
from cluster.serving.engines.stopping import StopScanner
from cluster.serving.engines.tokenizer_desk import OwnDesk
from sage.base.errors import RequestFailed, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatRequest,
    Finished,
    GenerateRequest,
    ModelCard,
    Reply,
    Request,
    Sampling,
    Token,
    Usage,
)

MAX_RUNNING = 32  # 83 / 338 / 828 tokens/s at 1 / 8 / 32 sequences on two cores (measured 2026-11-22)
CHUNK_TOKENS = (
    64  # an iteration, and so a cancel, then takes 40-60 ms there; 256: 190 ms; 32: 45-60 ms, the rest is fixed
)
CACHE_GB = 1
_PREWARM_TOKENS = 4


@dataclass(slots=True)
class _Answer:
    """A request in work. Dropping `handle` would cancel it."""

    id: RequestId
    handle: genai.GenerationHandle
    prompt_tokens: int
    stop: StopScanner
    tail: Tail = field(default_factory=Tail)
    made: int = 0
    unsent: int = 0
    end: Literal["stop", "length"] | None = None


class OpenvinoChat:
    """One language model; an Engine. Usage does not tell cached tokens: the library does not say."""

    wake_fd: int | None = None

    def __init__(self, engine_id: EngineId, card: ModelCard, path: Path, *, num_threads: int | None = None) -> None:
        """Load and prewarm the model at `path` (a GGUF file, or a folder as optimum-intel writes them)."""
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GB
        scheduler.max_num_seqs = MAX_RUNNING
        scheduler.max_num_batched_tokens = CHUNK_TOKENS
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        threads = num_threads or os.cpu_count() or 1
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(path), scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        self._prompts = PromptTokens(self._tokenizer, card)
        self.tokenizer = OwnDesk(card, self._prompts)
        self._card = card
        device = f"CPU, {threads} threads"
        self._info = EngineInfo(engine_id, "openvino", device, False, (card,), MAX_RUNNING)
        self._answers: dict[RequestId, _Answer] = {}
        self._replies: list[Reply] = []
        self._num_added = 0
        self._rng = random.Random()
        self._prewarm()

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                self._answers[request.id] = self._start(request)
            except SageError as error:
                self._replies.append(failed(request.id, error))
            except RuntimeError as error:  # the library's own: this request's fault or bad luck, not its neighbours'
                what = f"the engine could not take the request: {reason_of(error)}"
                self._replies.append(failed(request.id, RequestFailed(what)))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            answer = self._answers.pop(request_id, None)
            if answer is not None:
                answer.handle.cancel()
                self._replies.append(cancelled(request_id))

    def step(self) -> list[Reply]:
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            self._read()
        replies, self._replies = self._replies, []
        return replies

    def has_work(self) -> bool:
        return bool(self._answers or self._replies)

    def due_in_s(self) -> float | None:
        # a cancelled request keeps its cache until the next step, so one more is due
        return 0.0 if self.has_work() or self._pipeline.has_non_finished_requests() else None

    def figures(self) -> EngineFigures | None:
        return None

    def close(self) -> None:
        for answer in self._answers.values():
            answer.handle.cancel()
        self._answers.clear()
        self._replies.clear()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()  # gives back the cache of what was cancelled; else the library complains of a leak
        del self._pipeline

    def _start(self, request: Request) -> _Answer:
        assert request.id not in self._answers, request.id
        card = served_card(request, self._info)
        assert isinstance(request, ChatRequest | GenerateRequest), request  # no card of ours does anything else
        check_prompt(request)
        check_sampling(request.sampling)
        ids = self._prompt_ids(request)
        prompt_tokens = ids.shape[1]
        config = self._config(request.sampling, answer_tokens(prompt_tokens, request.sampling, card))
        self._num_added += 1
        handle = self._pipeline.add_request(self._num_added, ids, config)
        return _Answer(request.id, handle, prompt_tokens, StopScanner(request.sampling.stop))

    def _prompt_ids(self, request: ChatRequest | GenerateRequest) -> Tensor:
        max_tokens = request.sampling.max_tokens
        if isinstance(request, GenerateRequest):
            return self._prompts.ids(request.prompt, max_tokens, add_special_tokens=True)
        prompt = self._prompts.of_chat(request.messages)
        return self._prompts.ids(prompt, max_tokens, add_special_tokens=False)  # the template has them

    def _config(self, sampling: Sampling, max_tokens: int) -> genai.GenerationConfig:
        config = self._pipeline.get_config()
        config.max_new_tokens = max_tokens
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            seed = self._rng.getrandbits(32) if sampling.seed is None else sampling.seed
            config.rng_seed = seed % 2**32
        return config

    def _read(self) -> None:
        moved = [answer for answer in self._answers.values() if _take_tokens(answer)]
        pieces = next_pieces([answer.tail for answer in moved], self._tokenizer.decode)
        for answer, piece in zip(moved, pieces, strict=True):
            self._send(answer, piece)
        for answer in list(self._answers.values()):
            if answer.handle.get_status() == genai.GenerationStatus.IGNORED:
                del self._answers[answer.id]
                what = f"the answer outgrew the engine's cache of {CACHE_GB} GB after {answer.made} tokens"
                self._replies.append(failed(answer.id, RequestFailed(what, "Ask for less, or later.")))

    def _send(self, answer: _Answer, piece: str) -> None:
        text = answer.stop.feed(piece)
        if answer.stop.stopped:
            answer.end = "stop"
            answer.handle.stop()
        elif answer.end is not None:
            text += answer.stop.flush()
        if text:
            self._replies.append(Token(answer.id, text, answer.unsent))
            answer.unsent = 0
        if answer.end is not None:
            del self._answers[answer.id]
            usage = Usage(answer.prompt_tokens, answer.made)
            self._replies.append(Finished(answer.id, answer.end, usage, self._info.engine_id))

    def _prewarm(self) -> None:
        """Run a few tokens at each batch size of a power of two: kernels are made at their first use (0.4 s)."""
        num = 1
        while num <= MAX_RUNNING:
            config = self._config(Sampling(), _PREWARM_TOKENS)
            config.ignore_eos = True
            ids = [self._tokenizer.encode(f"{number} of {num}: hello").input_ids for number in range(num)]
            handles = [self._pipeline.add_request(number, row, config) for number, row in enumerate(ids)]
            while self._pipeline.has_non_finished_requests():
                self._pipeline.step()
            handles.clear()
            num *= 4


def _take_tokens(answer: _Answer) -> bool:
    """Move what the library made for `answer` to its tail; say whether there was any."""
    had = answer.made
    while answer.handle.can_read():
        for output in answer.handle.read().values():
            answer.tail.ids.extend(output.generated_ids)
            answer.made += len(output.generated_ids)
            answer.unsent += len(output.generated_ids)
            if output.finish_reason == genai.GenerationFinishReason.STOP:
                answer.end = "stop"
            elif output.finish_reason == genai.GenerationFinishReason.LENGTH:
                answer.end = "length"
    return answer.made > had
