"""What became of each request of a simulated run, and the figures of all together. Knows no engine.

Goodput counts requests whose first token came within the patience of their class (2 s for interactive ones) and a
second for each 8,000 tokens of the prompt, and whose other tokens came every 200 ms on average; what was refused or
failed is a miss (the objectives of Mooncake's and Splitwise's evaluations, as in the prototype of 2026-11-22).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.simulator.arrival import Arrival
from sage.base.inference import ServiceClass

FIRST_TOKEN_S = 2.0
PROMPT_TOKENS_PER_S = 8_000.0
PER_TOKEN_S = 0.2
_PATIENCE_S = {ServiceClass.INTERACTIVE: FIRST_TOKEN_S, ServiceClass.STANDARD: 30.0, ServiceClass.BATCH: 600.0}


@dataclass(slots=True)
class Outcome:
    """Times are virtual seconds; `why` is the code of the error where there was one. `asked_s`: when it came, which for
    what follows others is known in the run only."""

    arrival: Arrival
    asked_s: float | None = None
    first_s: float | None = None
    end_s: float | None = None
    engine: int | None = None
    why: str | None = None

    @property
    def first_token_s(self) -> float | None:
        """Seconds from arrival to the first token (TTFT)."""
        return None if self.first_s is None or self.asked_s is None else self.first_s - self.asked_s

    @property
    def per_token_s(self) -> float | None:
        """Seconds between the tokens after the first, on average (TPOT); 0 where there was one token."""
        if self.first_s is None or self.end_s is None:
            return None
        return (self.end_s - self.first_s) / max(1, self.arrival.answer_tokens - 1)

    @property
    def due_in_s(self) -> float:
        """Seconds from arrival within which its first token is due."""
        return _PATIENCE_S[self.arrival.service_class] + self.arrival.prompt_tokens / PROMPT_TOKENS_PER_S

    def is_good(self) -> bool:
        first, each = self.first_token_s, self.per_token_s
        if first is None or each is None or self.why is not None:
            return False
        return first <= self.due_in_s and each <= PER_TOKEN_S


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares are of what was offered."""

    num_offered: int
    num_ended: int
    num_refused: int
    goodput_requests: float
    goodput_tokens: float
    goodput_per_s: float
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    tpot_p99_ms: float
    e2e_p50_ms: float
    e2e_p99_ms: float


def figures_of(outcomes: Sequence[Outcome], duration_s: float) -> Figures:
    """Return the figures of a run that lasted `duration_s`; percentiles are of requests that ended well."""
    ended = [o for o in outcomes if o.end_s is not None and o.why is None]
    good = [o for o in outcomes if o.is_good()]
    tokens = sum(_tokens(o.arrival) for o in outcomes)
    firsts = sorted(1e3 * t for o in ended if (t := o.first_token_s) is not None)
    eachs = sorted(1e3 * t for o in ended if (t := o.per_token_s) is not None and o.arrival.answer_tokens > 1)
    wholes = sorted(1e3 * (o.end_s - o.asked_s) for o in ended if o.end_s is not None and o.asked_s is not None)
    return Figures(
        num_offered=len(outcomes),
        num_ended=len(ended),
        num_refused=sum(o.why is not None for o in outcomes),
        goodput_requests=round(len(good) / max(1, len(outcomes)), 4),
        goodput_tokens=round(sum(_tokens(o.arrival) for o in good) / max(1, tokens), 4),
        goodput_per_s=round(len(good) / max(1e-9, duration_s), 4),
        tokens_per_s=round(sum(o.arrival.answer_tokens for o in ended) / max(1e-9, duration_s), 1),
        ttft_p50_ms=quantile(firsts, 0.5),
        ttft_p99_ms=quantile(firsts, 0.99),
        tpot_p50_ms=quantile(eachs, 0.5),
        tpot_p99_ms=quantile(eachs, 0.99),
        e2e_p50_ms=quantile(wholes, 0.5),
        e2e_p99_ms=quantile(wholes, 0.99),
    )


@dataclass(frozen=True, slots=True)
class TextFigures:
    """What became of requests for embeddings. Times are from arrival to the last vector, of those that ended well."""

    num_texts: int
    num_texts_refused: int
    text_tokens_per_s: float
    text_p50_ms: float
    text_p99_ms: float


def text_figures_of(outcomes: Sequence[Outcome], duration_s: float) -> TextFigures:
    """Return the figures of a run that lasted `duration_s`."""
    ended = [o for o in outcomes if o.end_s is not None and o.why is None]
    times = sorted(1e3 * (o.end_s - o.asked_s) for o in ended if o.end_s is not None and o.asked_s is not None)
    return TextFigures(
        num_texts=sum(len(o.arrival.texts) for o in outcomes),
        num_texts_refused=sum(len(o.arrival.texts) for o in outcomes if o.why is not None),
        text_tokens_per_s=round(sum(o.arrival.prompt_tokens for o in ended) / max(1e-9, duration_s), 1),
        text_p50_ms=quantile(times, 0.5),
        text_p99_ms=quantile(times, 0.99),
    )


def attainment(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the share of good requests of each class that asked for anything."""
    return {name: sum(o.is_good() for o in found) / len(found) for name, found in _by_class(outcomes).items()}


def token_attainment(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the share of the tokens asked for that were of good requests, of each class."""
    return {
        name: sum(_tokens(o.arrival) for o in found if o.is_good()) / max(1, sum(_tokens(o.arrival) for o in found))
        for name, found in _by_class(outcomes).items()
    }


def ttft_p99_by_class(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the p99 of milliseconds to the first token of what ended well, of each class of which anything did."""
    return _p99_by_class(outcomes, lambda outcome, first_s: 1e3 * first_s)


def ttft_p99_of_due_by_class(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the same as shares of the time in which each first token was due: up to 1 where 99 of 100 came in time."""
    return _p99_by_class(outcomes, lambda outcome, first_s: first_s / outcome.due_in_s)


def _p99_by_class(outcomes: Sequence[Outcome], of: Callable[[Outcome, float], float]) -> dict[str, float]:
    firsts = {
        name: sorted(of(o, o.first_token_s) for o in found if o.why is None and o.first_token_s is not None)
        for name, found in _by_class(outcomes).items()
    }
    return {name: quantile(found, 0.99) for name, found in firsts.items() if found}


def _by_class(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.arrival.service_class.value, []).append(outcome)
    return dict(sorted(found.items()))


def record_misses(outcomes: Sequence[Outcome]) -> float | None:
    """Return the share of the records that are due whose last call ended later, or failed; None where none is due."""
    due_s: dict[int, float] = {}
    late: set[int] = set()
    for o in outcomes:
        call = o.arrival.call
        if call is not None and call.due_in_s is not None and o.asked_s is not None:
            due_s[call.record] = min(due_s.get(call.record, math.inf), o.asked_s + call.due_in_s)
    for o in outcomes:
        record = None if o.arrival.call is None else o.arrival.call.record
        if record in due_s and (o.why is not None or o.end_s is None or o.end_s > due_s[record]):
            late.add(record)
    return round(len(late) / len(due_s), 4) if due_s else None


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of ordered values, the nearest that was seen; 0 where there is none."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0


def _tokens(arrival: Arrival) -> int:
    return arrival.prompt_tokens + arrival.answer_tokens
