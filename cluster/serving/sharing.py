"""How embeddings share a device with chat: when the next texts may be embedded, by whom, and how many. Pure.

| mode | what embeddings do while chat runs |
| --- | --- |
| gated | run beside steps that only decode, on half of the CPUs; pause while a prompt is read |
| alternating | run between two steps of chat, in the time that its target leaves; chat waits for them |
| pinned | have a core of their own; chat has the others |

Whatever the mode, a text that has waited as long as it may goes next, pause or not: none starves. Source: prototypes on
two cores, 2026-11-22. Gated: chat's p99 as alone at every load, most embeddings for that; alternating at 70 % load and
a target of 1.3x: 1.27x the embeddings of gated; pinned: most work where a target of 1.5x p99 allows it.
"""

from dataclasses import dataclass
from enum import StrEnum

from sage.base.inference import ServiceClass


class SharingMode(StrEnum):
    AUTO = "auto"
    GATED = "gated"
    ALTERNATING = "alternating"
    PINNED = "pinned"
    OFF = "off"


MAX_HELD_S = {ServiceClass.INTERACTIVE: 0.06, ServiceClass.STANDARD: 1.0, ServiceClass.BATCH: 5.0}
"""How long a text of each class is held back for chat at most, and no longer than half of its own time.

An interactive one from when it comes; others from when they are first in line: what stands behind other texts is not
held back by chat.
"""

FREE_TOKENS = 512  # of a micro-batch where nobody is in the way
GO_TOKENS = 128  # 16 ms of one thread, in stages of 1-2 ms; 256 are no faster a token
LATE_TOKENS = 128  # of one that goes though a prompt is being read
_TOKENS_PER_S = 8_000.0  # of one thread, alike from 64 tokens at once on (MiniLM int8, measured 2026-11-23)
_LEAST_TURN_S = 0.003
_MARGIN = 0.1  # of the target: a step that takes longer than expected, and the way to and fro


@dataclass(frozen=True, slots=True)
class ChatNow:
    """Chat on this device at this moment. `num_lacking`: requests at work without a first token.

    `busy`: share of the last seconds in which it worked. `step_s`: a step that only decodes; `chunk_s`: one that reads
    a prompt too; 0 while unknown. `turn_until_s`: until when it lets embeddings run between two steps, monotonic.
    """

    num_running: int = 0
    num_lacking: int = 0
    busy: float = 0.0
    step_s: float = 0.0
    chunk_s: float = 0.0
    turn_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OldestText:
    """The text that has waited longest. `held_until_s`: when it goes whatever chat does, monotonic."""

    service_class: ServiceClass
    held_until_s: float


@dataclass(frozen=True, slots=True)
class Go:
    """Embed about `budget_tokens` next. `is_meek`: only in time that nobody else wants (SCHED_IDLE).

    `is_alone`: by one worker at a time. `rests`: it stops between two layers of the model wherever it `must_rest`.
    """

    budget_tokens: int
    is_meek: bool = False
    is_alone: bool = False
    rests: bool = False


def mode_for(chat: ChatNow, wanted: SharingMode, target_s: float | None) -> SharingMode:
    """Return the mode for this load; `target_s`: p99 between two tokens that chat may have; None: as it has alone.

    >>> mode_for(ChatNow(1, 0, 0.5, 0.014, 0.045), SharingMode.AUTO, None).value
    'gated'
    >>> mode_for(ChatNow(1, 0, 0.7, 0.020, 0.045), SharingMode.AUTO, 0.060).value
    'alternating'
    """
    if wanted is not SharingMode.AUTO:
        return wanted
    if target_s is None or not chat.chunk_s:
        return SharingMode.GATED
    slack = target_s / chat.chunk_s
    if slack >= 1.5 and chat.busy < 0.6:
        return SharingMode.PINNED
    return SharingMode.ALTERNATING if slack >= 1.25 and chat.busy >= 0.6 else SharingMode.GATED


def held_until_s(
    service_class: ServiceClass,
    timeout_s: float | None,
    came_s: float,
    max_held_s: float | None,
    *,
    first_s: float = 0.0,
) -> float:
    """Return when a text goes whatever chat does. `max_held_s` instead of what its class says; `first_s`: since when it
    is first in line, where that is later than it came."""
    held_s = MAX_HELD_S[service_class] if max_held_s is None else max_held_s
    since_s = came_s if service_class is ServiceClass.INTERACTIVE else max(came_s, first_s)
    until_s = since_s + held_s
    return until_s if timeout_s is None else min(until_s, came_s + timeout_s / 2)


def next_go(mode: SharingMode, chat: ChatNow, oldest: OldestText, now_s: float) -> Go | None:
    """Return what may be embedded now; None: nothing, look again soon."""
    if not chat.num_running or mode is SharingMode.OFF:
        return Go(FREE_TOKENS)
    if mode is SharingMode.PINNED:
        return Go(GO_TOKENS, is_alone=True)
    if oldest.held_until_s <= now_s:
        return Go(LATE_TOKENS if chat.num_lacking else GO_TOKENS, is_alone=True)
    if mode is SharingMode.ALTERNATING:
        budget_tokens = int((chat.turn_until_s - now_s) * _TOKENS_PER_S)
        return Go(min(GO_TOKENS, budget_tokens)) if budget_tokens >= 16 else None
    if chat.num_lacking:
        return None
    if oldest.service_class is ServiceClass.INTERACTIVE:
        return Go(GO_TOKENS, is_alone=True, rests=True)
    return Go(GO_TOKENS, is_meek=True, rests=True)


def most_beside(go: Go, num_cpus: int) -> int:
    """Return by how many workers at once such micro-batches may be embedded.

    Meek ones on half of the CPUs: on all of them they slow chat's steps by 15 to 20 %, and more of them overlap.

    >>> most_beside(Go(256, is_meek=True), 2), most_beside(Go(512), 2), most_beside(Go(256, is_alone=True), 8)
    (1, 2, 1)
    """
    if go.is_alone:
        return 1
    return max(1, num_cpus // 2) if go.is_meek else num_cpus


def num_workers(wanted: SharingMode, target_s: float | None, num_cpus: int) -> int:
    """Return how many may have texts at once, with one more for what can wait no longer.

    Where `auto` can only mean `gated`, as many as it lets work beside chat.

    >>> num_workers(SharingMode.AUTO, None, 2), num_workers(SharingMode.AUTO, None, 8)
    (2, 5)
    >>> num_workers(SharingMode.AUTO, 0.06, 8), num_workers(SharingMode.GATED, None, 8)
    (9, 9)
    """
    is_gated = wanted is SharingMode.AUTO and target_s is None
    return 1 + (most_beside(Go(GO_TOKENS, is_meek=True), num_cpus) if is_gated else num_cpus)


def must_rest(chat: ChatNow, held_until_s: float, now_s: float) -> bool:
    """Say whether a gated micro-batch in work stops here until a prompt is read, or its texts may wait no longer."""
    return chat.num_lacking > 0 and now_s < held_until_s


class TurnBudget:
    """How long chat lets embeddings run between two of its steps: what its target leaves, less what they overran."""

    def __init__(self) -> None:
        self._debt_s = 0.0

    def budget_s(self, target_s: float, step_s: float) -> float:
        """Return how long embeddings may run now, before a step that takes about `step_s`; 0.0: not at all."""
        budget_s = target_s * (1 - _MARGIN) - step_s - self._debt_s
        self._debt_s = max(0.0, self._debt_s - max(0.0, target_s - step_s))
        return budget_s if budget_s >= _LEAST_TURN_S else 0.0

    def overran(self, by_s: float) -> None:
        """Note that chat waited so much longer than it had granted."""
        self._debt_s += by_s


class ChatPace:
    """What chat's own steps tell: how busy it is, and how long its steps take. Forgets in a few seconds."""

    _MEMORY_S = 2.0

    def __init__(self) -> None:
        self.busy = self.step_s = self.chunk_s = 0.0
        self._ended_s: float | None = None

    def stepped(self, began_s: float, ended_s: float, *, has_read: bool) -> None:
        """Note a step; `has_read`: some of its requests lacked their first token."""
        took_s = ended_s - began_s
        passed_s = took_s if self._ended_s is None else max(took_s, ended_s - self._ended_s)
        if passed_s > 0:
            weight = min(1.0, passed_s / self._MEMORY_S)
            self.busy += weight * (took_s / passed_s - self.busy)
        self._ended_s = ended_s
        if has_read:
            self.chunk_s += (took_s - self.chunk_s) * (0.1 if self.chunk_s else 1.0)
        else:
            self.step_s += (took_s - self.step_s) * (0.1 if self.step_s else 1.0)
