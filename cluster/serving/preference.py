"""Which requests are let in first where not all can be: those that engines answer with less work. Knows no queue.

Prompt tokens that are cached cost an engine nothing, so the same engines answer more of them: a request that has less
of its prompt cached than others had lately must have time to spare; where nothing is ever cached, none must.

Answers cost an engine more than prompts of the same length. How long they are is learned from answers to prompts about
as long; a request that by that makes clearly more work, for what it is worth, than others of its tenant must have time
to spare too. What it is worth is for the most part its tokens, and a little that it is a request. Where all are alike
in this, as where prompts make most of the work, none must.
"""

import math
from dataclasses import dataclass, field

from cluster.serving.recent import Recent
from cluster.serving.size import work_of
from cluster.serving.ticket import Lane, Ticket
from sage.base.inference import Request, TextsRequest

STRENGTH = 2.0
"""By how much longer a forecast counts that has a share of 1 less cached: 2 gains requests over 1 and loses no tokens,
3 loses tokens at moderate load (simulated, Mooncake's conversations at loads 1.2 and 2; rough)."""
WORK_STRENGTH = 2.0
CLEARLY = 1.2  # times the usual work for what it is worth: less makes no difference
WORTH_OF_ONE = 0.2  # of the mean request, whatever its length; the rest is by its tokens
MOST = 3.0
_KEEP = 0.99  # of the mean with each request: about the last hundred count
_SIZES_AN_OCTAVE = 4  # prompts about as long: of a quarter of an octave
_MIN_SEEN = 4
_MAX_TENANTS = 1_024


@dataclass(slots=True)
class _Mean:
    """A mean that forgets."""

    total: float = 0.0
    weight: float = 0.0
    num_seen: int = 0

    def saw(self, value: float) -> None:
        self.total = _KEEP * self.total + value
        self.weight = _KEEP * self.weight + 1.0
        self.num_seen += 1

    @property
    def value(self) -> float:
        return self.total / self.weight


@dataclass(slots=True)
class _Usual:
    """What the requests of a tenant in a lane were like; `answers` by the size of their prompts."""

    answers: dict[int, _Mean] = field(default_factory=dict)
    work: _Mean = field(default_factory=_Mean)
    tokens: _Mean = field(default_factory=_Mean)


class Preference:
    """Remembers, for each lane, what requests were like as they came, and how long their answers were."""

    def __init__(self) -> None:
        self._shares: dict[Lane, float] = {}
        self._usual: Recent[tuple[Lane, str], _Usual] = Recent(_MAX_TENANTS)

    def came(self, ticket: Ticket) -> float:
        """Note a request that comes; return by what factor its forecast is to count for what is cached, 1 or more."""
        share = ticket.cached_tokens / max(1, ticket.size.prompt_tokens)
        usual = _KEEP * self._shares.get(ticket.lane, 0.0) + (1.0 - _KEEP) * share
        self._shares[ticket.lane] = usual
        return 1.0 + STRENGTH * max(0.0, usual - share)

    def came_to_work(self, ticket: Ticket) -> float:
        """Note a request that comes; return by what factor its forecast is to count for its work, 1 or more."""
        usual = self._usual_of(ticket)
        answers = usual.answers.get(_size(ticket))
        if answers is None or answers.num_seen < _MIN_SEEN:
            return 1.0
        answer_tokens = min(answers.value, _most_tokens(ticket.request))
        tokens = ticket.size.prompt_tokens + answer_tokens
        work = work_of(ticket.size.prompt_tokens, answer_tokens)
        usual.work.saw(work)
        usual.tokens.saw(tokens)
        worth = WORTH_OF_ONE + (1.0 - WORTH_OF_ONE) * tokens / usual.tokens.value
        work_for_worth = work / usual.work.value / worth
        return min(1.0 + WORK_STRENGTH * max(0.0, work_for_worth - CLEARLY), MOST)

    def answered(self, ticket: Ticket, answer_tokens: int) -> None:
        """Learn how long an answer was."""
        answers = self._usual_of(ticket).answers
        answers.setdefault(_size(ticket), _Mean()).saw(answer_tokens)

    def _usual_of(self, ticket: Ticket) -> _Usual:
        key = (ticket.lane, ticket.request.tenant)
        usual = self._usual.get(key)
        if usual is None:
            usual = _Usual()
            self._usual.put(key, usual)
        return usual


def _most_tokens(request: Request) -> float:
    """Return how long its answer may be."""
    named = None if isinstance(request, TextsRequest) else request.sampling.max_tokens
    return math.inf if named is None else named


def _size(ticket: Ticket) -> int:
    return int(_SIZES_AN_OCTAVE * math.log2(max(1, ticket.size.prompt_tokens)))
