"""One simulated engine in virtual time: continuous batching, prefill in chunks, a prefix cache. Knows no plane.

Time goes by in stretches of equal iterations: nothing is computed for single tokens. An iteration takes what
`CostModel.iteration_ms` says; while prompts are worked off, those that decode get a token an iteration too.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.kv_cache import BlockCache
from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.engines.cost import CostModel, tokens_before
from sage.base.ids import RequestId


@dataclass(slots=True, eq=False)
class Sequenced:
    """A request at an engine. `left_tokens` of its prompt are to be worked off; `ends_at`: the number of the iteration
    in which it gets its last token, once it has its first."""

    id: RequestId
    arrival: Arrival
    left_tokens: int = 0
    cached_tokens: int = 0
    made_tokens: int = 0  # of its answer, when it was stopped for want of memory
    ends_at: int | None = None
    is_cancelled: bool = False


@dataclass(slots=True)
class Happened:
    """What a stretch brought: requests with their first token, requests that ended."""

    first: list[Sequenced]
    ended: list[Sequenced]


class EngineModel:
    """Told what to work on and how far time is; says when something will have happened."""

    def __init__(
        self,
        costs: CostModel,
        *,
        kv_tokens: int,
        block_tokens: int = 512,
        looks_early: bool = False,
        adapter_slots: float = math.inf,
        kv_grows: bool = False,
    ) -> None:
        """`looks_early`: it looks for what it keeps of a prompt when that comes, as OpenVINO does, and finds only what
        was worked off by then; else when it begins with it, as vLLM does. An adapter that is in none of
        `adapter_slots` is loaded before the next iteration; while all are at work, what asks for another waits.
        `kv_grows`: it begins with what has memory for its prompt, and where answers need more than there is, what came
        last is stopped and later worked off anew, as by vLLM; else only with what has memory for its answer too."""
        self._costs = costs
        self._looks_early = looks_early
        self._kv_tokens = kv_tokens
        self._kv_grows = kv_grows
        self.num_preempted = 0
        self.slots = AdapterSlots(adapter_slots)
        self._cache = BlockCache(max(1, kv_tokens // block_tokens))
        self._waiting: deque[Sequenced] = deque()
        self._prefilling: deque[Sequenced] = deque()
        self._decoding: list[tuple[int, int, Sequenced]] = []  # (ends_at, number, job)
        self._num_decoding = 0  # of those in the heap, the ones not cancelled
        self._before_tokens = 0  # prompts, and answers so far, of those
        self._held_tokens = 0
        self._num_jobs = 0
        self._iteration = 0  # how many are done
        self._since_s = 0.0  # when the stretch began
        self._each_s = 0.0
        self._length = 0  # iterations of the stretch; 0: idle
        self._slowed_decode = self._slowed_read = 1.0
        self._busy_from_s = 0.0
        self._has_cancelled = False
        self._chunk = 0  # prompt tokens an iteration of it
        self.busy_s = 0.0
        self.cached_tokens = 0
        self.prompt_tokens = 0

    @property
    def is_idle(self) -> bool:
        return self._length == 0

    def next_s(self) -> float:
        """Return when the stretch at hand ends; infinite where there is none."""
        return self._since_s + self._length * self._each_s if self._length else math.inf

    @property
    def num_lacking(self) -> int:
        """How many requests have no token yet."""
        return len(self._waiting) + len(self._prefilling)

    @property
    def num_at_work(self) -> int:
        """How many requests have memory."""
        return self._num_decoding + len(self._prefilling)

    @property
    def num_running(self) -> int:
        """How many requests it has in all."""
        return self.num_lacking + self._num_decoding

    @property
    def used_tokens(self) -> int:
        """How much memory its prompts, and answers so far, need by the end of the last stretch."""
        return self._before_tokens + sum(job.arrival.prompt_tokens + job.made_tokens for job in self._prefilling)

    def slow(self, decode: float, read: float, now_s: float) -> None:
        """Take so many times as long from now on: for iterations that only decode, and for those that read prompts."""
        before = self._slowness()
        self._slowed_decode, self._slowed_read = decode, read
        if self._length and self._slowness() != before:
            done = max(0.0, now_s - self._since_s) / self._each_s
            self._each_s *= self._slowness() / before
            self._since_s = max(now_s, self._since_s) - done * self._each_s

    def _slowness(self) -> float:
        return self._slowed_read if self._chunk else self._slowed_decode

    def add(self, id: RequestId, arrival: Arrival, now_s: float) -> Sequenced:
        """Take a request; it joins at the end of the iteration at hand."""
        job = Sequenced(id, arrival)
        self._waiting.append(job)
        self._cut(now_s)
        return job

    def cancel(self, job: Sequenced, now_s: float) -> None:
        """Stop working on a request; its place is free at the end of the iteration at hand."""
        job.is_cancelled = True
        self._has_cancelled = True
        self._cut(now_s)

    def advance(self, now_s: float) -> Happened:
        """End the stretch at hand, at `next_s`, and begin the next one."""
        assert self._length, "it is idle"
        assert abs(now_s - self.next_s()) < 1e-6, (now_s, self.next_s())
        happened = Happened([], [])
        self._iteration += self._length
        self.busy_s += now_s - self._busy_from_s
        self._before_tokens += self._length * self._num_decoding
        self._work_off(self._length * self._chunk, happened)
        while self._decoding and self._decoding[0][0] <= self._iteration:
            job = heapq.heappop(self._decoding)[2]
            if not job.is_cancelled:
                self._num_decoding -= 1
                self._before_tokens -= _tokens(job)
                self._free(job)
                happened.ended.append(job)
        self._begin(now_s)
        return happened

    def _cut(self, now_s: float) -> None:
        """End the stretch with the iteration at hand, so that what came or went is seen."""
        if self._length == 0:
            self._begin(now_s)
            return
        done = max(1, math.ceil((now_s - self._since_s) / self._each_s - 1e-9))
        if self._chunk == 0 or self._has_cancelled:
            self._length = min(self._length, done)

    def _begin(self, now_s: float) -> None:
        if self._has_cancelled:
            self._drop_cancelled()
        load_s = 0.0 if self._kv_grows and self._preempt() else self._let_in() * self._costs.adapter_load_ms / 1e3
        self._busy_from_s = now_s
        self._since_s, self._length, self._chunk = now_s + load_s, 0, 0
        to_work_off = sum(job.left_tokens for job in self._prefilling)
        if to_work_off:
            front = self._prefilling[0].left_tokens
            room = max(1, self._costs.chunk_tokens - self._num_decoding)  # those that decode come first
            self._chunk = min(room, to_work_off)
            self._length = max(1, front // room)
        elif not self._num_decoding:
            return
        if self._decoding:
            last = max(1, self._decoding[0][0] - self._iteration)
            self._length = last if not self._length else min(self._length, last)
            if self._kv_grows:
                self._length = max(1, min(self._length, (self._kv_tokens - self.used_tokens) // self._num_decoding))
        before = self._before_tokens + self._length * self._num_decoding / 2
        before_chunk = self._before_prefilled(self._length * self._chunk) / self._length
        costs_ms = self._costs.iteration_ms(self._chunk, self._num_decoding, (), before, before_chunk)
        self._each_s = costs_ms * self._slowness() / 1e3

    def _before_prefilled(self, tokens: int) -> float:
        """Return how many tokens stand before each of the next `tokens` of prompts, summed; 0 if that is free."""
        if not self._costs.prefill_context_ms:
            return 0.0
        before = 0.0
        for job in self._prefilling:
            if not tokens:
                break
            num = min(tokens, job.left_tokens)
            before += tokens_before(max(0, job.arrival.prompt_tokens - job.left_tokens), num)
            tokens -= num
        return before

    def _drop_cancelled(self) -> None:
        self._has_cancelled = False
        for queue in (self._waiting, self._prefilling):
            for job in [job for job in queue if job.is_cancelled]:
                queue.remove(job)
                if queue is self._prefilling:
                    self._free(job)
                    self._forget_rest(job)
        gone = [entry for entry in self._decoding if entry[2].is_cancelled]
        if gone:
            self._decoding = [entry for entry in self._decoding if not entry[2].is_cancelled]
            heapq.heapify(self._decoding)
            self._num_decoding -= len(gone)
            self._before_tokens -= sum(_tokens(job) - ends_at + self._iteration for ends_at, _, job in gone)
            for _, _, job in gone:
                self._free(job)

    def _forget_rest(self, job: Sequenced) -> None:
        """Cache no more what nobody worked off: from the first block of its own that is not whole."""
        if not self._looks_early:
            self._cache.forget(job.arrival.blocks[_num_done(job) :])

    def _free(self, job: Sequenced) -> None:
        """Hold memory, and a slot, for a request no more."""
        self._held_tokens -= _tokens(job)
        if job.arrival.adapter is not None:
            self.slots.drop(job.arrival.adapter)

    def _preempt(self) -> bool:
        """Stop what came last while there is no memory for another token of each answer; say whether any was."""
        num_before = self.num_preempted
        while self._num_decoding and self.used_tokens + self._num_decoding > self._kv_tokens and self.num_at_work > 1:
            if self._prefilling:
                job = self._prefilling.pop()
                self._forget_rest(job)
            else:
                last = max(self._decoding, key=lambda entry: entry[1])
                self._decoding.remove(last)
                heapq.heapify(self._decoding)
                ends_at, _, job = last
                job.made_tokens = job.arrival.answer_tokens - (ends_at - self._iteration)
                self._num_decoding -= 1
                self._before_tokens -= job.arrival.prompt_tokens + job.made_tokens
            self._free(job)
            self._waiting.appendleft(job)
            self.num_preempted += 1
        return self.num_preempted > num_before

    def _is_full_for(self, job: Sequenced) -> bool:
        if self._kv_grows:
            needed = self.used_tokens + self._num_decoding + job.arrival.prompt_tokens + job.made_tokens
            return self.num_at_work > 0 and needed > self._kv_tokens
        return self._held_tokens > 0 and self._held_tokens + _tokens(job) > self._kv_tokens

    def _let_in(self) -> int:
        """Begin with what waits, as long as there is a sequence and memory for it, and past what waits for a slot;
        return how many adapters are to be loaded."""
        loads_before = self.slots.num_loads
        passed_over: list[Sequenced] = []
        while self._waiting and self._num_decoding + len(self._prefilling) < self._costs.max_running:
            job = self._waiting[0]
            if self._is_full_for(job):
                break
            self._waiting.popleft()
            arrival = job.arrival
            if arrival.adapter is not None:
                if not self.slots.has_room(arrival.adapter):
                    passed_over.append(job)
                    continue
                self.slots.take(arrival.adapter)
            self._held_tokens += _tokens(job)
            num_cached = self._cache.num_cached(arrival.blocks)
            job.cached_tokens = min(num_cached * arrival.block_tokens, max(0, arrival.prompt_tokens - 1))
            job.left_tokens = max(1, arrival.prompt_tokens - job.cached_tokens + job.made_tokens)
            if not job.made_tokens:
                self.cached_tokens += job.cached_tokens
                self.prompt_tokens += arrival.prompt_tokens
            self._cache.use(arrival.blocks[: num_cached if self._looks_early else None])
            self._prefilling.append(job)
        self._waiting.extendleft(reversed(passed_over))
        return self.slots.num_loads - loads_before

    def _work_off(self, tokens: int, happened: Happened) -> None:
        while tokens and self._prefilling:
            job = self._prefilling[0]
            done = min(tokens, job.left_tokens)
            job.left_tokens -= done
            tokens -= done
            if self._looks_early:
                self._cache.use(job.arrival.blocks[: _num_done(job)])
            if job.left_tokens:
                return
            self._prefilling.popleft()
            if job.is_cancelled:
                self._free(job)
                continue
            if not job.made_tokens:
                happened.first.append(job)
            made_tokens = job.made_tokens + 1
            if job.arrival.answer_tokens == made_tokens:
                self._free(job)
                happened.ended.append(job)
            else:
                self._num_jobs += 1
                job.ends_at = self._iteration + job.arrival.answer_tokens - made_tokens
                heapq.heappush(self._decoding, (job.ends_at, self._num_jobs, job))
                self._num_decoding += 1
                self._before_tokens += job.arrival.prompt_tokens + made_tokens


def _tokens(job: Sequenced) -> int:
    return job.arrival.prompt_tokens + job.arrival.answer_tokens


def _num_done(job: Sequenced) -> int:
    """Return how many blocks of its prompt are worked off."""
    arrival = job.arrival
    done = max(1, arrival.prompt_tokens - job.cached_tokens + job.made_tokens) - job.left_tokens
    return (job.cached_tokens + done) // arrival.block_tokens
