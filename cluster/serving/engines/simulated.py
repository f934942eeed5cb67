"""A deterministic engine with a stated cost model: for tests, simulation and replay; always labelled as simulated.

It knows no model: its answers are numbered words, its vectors come from a hash of the text. It keeps time by the
clock it is given and never waits: drive it with `due_in_s`, in virtual time or in real.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.engines.adapter_options import NO_ADAPTERS, AdapterOptions
from cluster.serving.engines.checks import (
    answer_tokens,
    cancelled,
    check_prompt,
    check_sampling,
    check_texts,
    failed,
    served_card,
)
from cluster.serving.engines.cost import CostModel, tokens_before
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.simulated_content import hash_vector, num_tokens, numbered_word, prompt_text
from cluster.serving.engines.stopping import StopScanner
from cluster.serving.engines.tokenizer_desk import NoTokenizer
from sage.base.clock import Clock
from sage.base.errors import SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    TEXT_KINDS,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Finished,
    GenerateRequest,
    Kind,
    ModelCard,
    Reply,
    Request,
    ScoreRequest,
    Token,
    Usage,
)

DIM = 384
NUM_TOKENS_UNASKED = 64  # the length of an answer where max_tokens does not say

_ALL_KINDS = (Kind.CHAT, Kind.GENERATE, Kind.EMBED)


@dataclass(slots=True)
class _Sequence:
    id: RequestId
    prompt_tokens: int
    answer_tokens: int
    natural_end: bool
    stop: StopScanner
    unread: int
    adapter: str | None = None
    made: int = 0
    held: int = 0
    ended: bool = False


@dataclass(slots=True)
class _Texts:
    id: RequestId
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    done: int = 0
    ended: bool = False


@dataclass(slots=True)
class _Iteration:
    due_s: float
    reading: list[tuple[_Sequence, int]] = field(default_factory=list)
    decoding: list[_Sequence] = field(default_factory=list)
    embedding: list[tuple[_Texts, int]] = field(default_factory=list)


class SimulatedEngine:
    """Continuous batching with chunked prefill, iteration by iteration, at the cost that `cost` states."""

    wake_fd: int | None = None

    def __init__(
        self,
        engine_id: EngineId,
        model: str,
        cost: CostModel,
        clock: Clock,
        *,
        kinds: tuple[Kind, ...] = _ALL_KINDS,
        context_tokens: int | None = None,
        adapters: AdapterOptions = NO_ADAPTERS,
    ) -> None:
        """`context_tokens`: of the model; by default the profile's."""
        dim = DIM if Kind.EMBED in kinds else None
        card = ModelCard(model, kinds, context_tokens or cost.context_tokens, dim)
        generates = tuple(kind for kind in kinds if kind not in TEXT_KINDS)
        adapted = [ModelCard(name, generates, card.context_tokens, parent=model) for name in adapters.names]
        texts = cost.max_batch_texts if dim else 0
        self._info = EngineInfo(
            engine_id,
            "simulated",
            cost.device,
            True,
            (card, *adapted),
            cost.max_running,
            texts,
            adapter_slots=adapters.slots,
        )
        self._slots = AdapterSlots(adapters.slots)
        self._num_loads = 0  # of adapters, by the next iteration
        self._cost = cost
        self._clock = clock
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._texts: deque[_Texts] = deque()
        self._by_id: dict[RequestId, _Sequence | _Texts] = {}
        self._iteration: _Iteration | None = None
        self._replies: list[Reply] = []
        self.tokenizer = NoTokenizer(f"model {model!r} is simulated and has no tokenizer")

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                self._add(request)
            except SageError as error:
                self._replies.append(failed(request.id, error))

    def _add(self, request: Request) -> None:
        assert request.id not in self._by_id, request.id
        card = served_card(request, self._info)
        work: _Sequence | _Texts
        match request:
            case EmbedRequest(texts=texts):
                check_texts(request)
                work = _Texts(request.id, texts, tuple(min(num_tokens(text), card.context_tokens) for text in texts))
                self._texts.append(work)
            case ScoreRequest():
                raise AssertionError(f"no card of ours scores: {request.id}")
            case ChatRequest() | GenerateRequest():
                work = _sequence(request, card)
                self._waiting.append(work)
        self._by_id[request.id] = work

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            work = self._by_id.pop(request_id, None)
            if work is not None:
                work.ended = True
                self._replies.append(cancelled(request_id))

    def step(self) -> list[Reply]:
        now_s = self._clock.monotonic_s()
        iteration = self._iteration
        if iteration is None:
            self._iteration = self._plan(now_s)
        elif iteration.due_s <= now_s:
            self._finish(iteration)
            self._iteration = self._plan(iteration.due_s)  # not now_s: lateness of the driver must not add up
        replies, self._replies = self._replies, []
        return replies

    def has_work(self) -> bool:
        return bool(self._by_id or self._replies)

    def due_in_s(self) -> float | None:
        if self._replies:
            return 0.0
        if self._iteration is not None:
            return max(0.0, self._iteration.due_s - self._clock.monotonic_s())
        return 0.0 if self._by_id else None

    def figures(self) -> EngineFigures | None:
        return None

    def close(self) -> None:
        self._by_id.clear()
        self._waiting.clear()
        self._running.clear()
        self._texts.clear()
        self._iteration = None
        self._replies.clear()

    def _plan(self, start_s: float) -> _Iteration | None:
        self._admit()
        iteration = _Iteration(start_s, decoding=[s for s in self._running if not s.unread])
        loads_ms = self._cost.adapter_load_ms * self._num_loads
        self._num_loads = 0
        budget = max(1, self._cost.chunk_tokens - len(iteration.decoding))
        for sequence in self._running:
            if sequence.unread and budget:
                num = min(budget, sequence.unread)
                iteration.reading.append((sequence, num))
                budget -= num
        iteration.embedding = self._next_texts()
        if not (iteration.reading or iteration.decoding or iteration.embedding):
            return None
        lengths = [work.tokens[at] for work, at in iteration.embedding]
        read = sum(num for _, num in iteration.reading)
        before = sum(sequence.prompt_tokens + sequence.made for sequence in iteration.decoding)
        before_read = sum(tokens_before(s.prompt_tokens - s.unread, num) for s, num in iteration.reading)
        cost_ms = self._cost.iteration_ms(read, len(iteration.decoding), lengths, before, before_read)
        iteration.due_s = start_s + (loads_ms + cost_ms) / 1000
        return iteration

    def _admit(self) -> None:
        for sequence in self._running:
            if sequence.ended and sequence.adapter is not None:
                self._slots.drop(sequence.adapter)
        self._running = [s for s in self._running if not s.ended]
        passed_over: list[_Sequence] = []
        while self._waiting and len(self._running) < self._cost.max_running:
            sequence = self._waiting.popleft()
            if sequence.ended:
                continue
            if self._begins(sequence):
                self._running.append(sequence)
            else:
                passed_over.append(sequence)
        self._waiting.extendleft(reversed(passed_over))

    def _begins(self, sequence: _Sequence) -> bool:
        """Have the adapter of a sequence ready; say whether there is a slot for it."""
        adapter = sequence.adapter
        if adapter is None:
            return True
        if adapter not in self._slots and not self._slots.can_load:
            return False
        self._num_loads += self._slots.take(adapter)
        return True

    def _next_texts(self) -> list[tuple[_Texts, int]]:
        while self._texts and self._texts[0].ended:
            self._texts.popleft()
        places = ((work, at) for work in self._texts if not work.ended for at in range(work.done, len(work.texts)))
        return [place for place, _ in zip(places, range(self._cost.max_batch_texts), strict=False)]

    def _finish(self, iteration: _Iteration) -> None:
        for sequence, num in iteration.reading:
            sequence.unread -= num
            if not sequence.unread and not sequence.ended:
                self._make_token(sequence)
        for sequence in iteration.decoding:
            if not sequence.ended:
                self._make_token(sequence)
        for work, at in iteration.embedding:
            work.done = at + 1
            if work.done == len(work.texts) and not work.ended:
                self._end_texts(work)

    def _make_token(self, sequence: _Sequence) -> None:
        sequence.made += 1
        sequence.held += 1
        is_last = sequence.made == sequence.answer_tokens
        text = sequence.stop.feed(numbered_word(sequence.made))
        if is_last and not sequence.stop.stopped:
            text += sequence.stop.flush()
        if text:
            self._replies.append(Token(sequence.id, text, sequence.held))
            sequence.held = 0
        if is_last or sequence.stop.stopped:
            usage = Usage(sequence.prompt_tokens, sequence.made)
            stopped = sequence.stop.stopped or sequence.natural_end
            self._replies.append(Finished(sequence.id, "stop" if stopped else "length", usage, self._info.engine_id))
            self._end(sequence)

    def _end_texts(self, work: _Texts) -> None:
        vectors = b"".join(hash_vector(text, DIM) for text in work.texts)
        usage = Usage(prompt_tokens=sum(work.tokens))
        self._replies.append(Embedded(work.id, vectors, DIM, usage, self._info.engine_id, work.tokens))
        self._end(work)

    def _end(self, work: _Sequence | _Texts) -> None:
        work.ended = True
        del self._by_id[work.id]


def _sequence(request: ChatRequest | GenerateRequest, card: ModelCard) -> _Sequence:
    check_sampling(request.sampling)
    check_prompt(request)
    prompt_tokens = num_tokens(prompt_text(request))
    allowed = answer_tokens(prompt_tokens, request.sampling, card)
    asked = request.sampling.max_tokens is not None
    return _Sequence(
        request.id,
        prompt_tokens,
        allowed if asked else min(allowed, NUM_TOKENS_UNASKED),
        natural_end=not asked and allowed > NUM_TOKENS_UNASKED,
        stop=StopScanner(request.sampling.stop),
        unread=max(1, prompt_tokens),
        adapter=None if card.parent is None else card.name,
    )
