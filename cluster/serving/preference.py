"""Which requests are let in first where not all can be: those that engines answer with less work. Knows no queue.

Prompt tokens that are cached cost an engine nothing, so the same engines answer more of them: a request that has less
of its prompt cached than others had lately must have time to spare; where nothing is ever cached, none must.

Answers cost an engine more than prompts of the same length. How long they are is learned (`answer_lengths`); a request
that by that makes clearly more work, for what it is worth, than those of its tenant that were let in lately must have
time to spare too: the more of it, the more were refused, and the more of its work is that of its answer. What it is
worth is for two thirds its tokens, and for a third that it is a request. So where all fits none must, and the less
fits, the less of what pays least is let in. Where all are alike in this, as where prompts make the work, none must.
"""

import math
from dataclasses import dataclass, field

from cluster.serving.answer_lengths import AnswerLengths
from cluster.serving.recent import Recent
from cluster.serving.size import work_of
from cluster.serving.ticket import Lane, Ticket
from sage.base.inference import Request, TextsRequest

STRENGTH = 2.0
"""By how much longer a forecast counts that has a share of 1 less cached: 2 gains requests over 1 and loses no tokens,
3 loses tokens at moderate load (simulated, Mooncake's conversations at loads 1.2 and 2; rough)."""
WORK_STRENGTH = 16.0
"""By how much longer a forecast counts by as much work for its worth again as is usual, were all refused and all of it
the work of its answer. Where that did not depend on how many are refused, Mooncake's longest prompts lost up to 0.08 of
the tokens at load 1.2, where nearly all fits; where not on the answer's share, Azure's code lost 0.02 with four engines
for a quarter more requests (simulated, seed 41, rough)."""
CLEARLY = 1.2  # times the usual work for what it is worth: less makes no difference
WORTH_OF_ONE = 0.32  # of the mean request, whatever its length; the rest is by its tokens
MOST = 8.0
_KEEP = 0.99  # of the mean with each request: about the last hundred count
_MAX_TENANTS = 1_024


@dataclass(slots=True)
class _Mean:
    """A mean that forgets."""

    total: float = 0.0
    weight: float = 0.0

    def saw(self, value: float) -> None:
        self.total = _KEEP * self.total + value
        self.weight = _KEEP * self.weight + 1.0

    @property
    def value(self) -> float:
        return self.total / self.weight


@dataclass(slots=True)
class _Usual:
    """What the requests of a tenant in a lane are like: work and tokens of those let in, what share of all was refused
    lately, and how long answers are."""

    answers: AnswerLengths = field(default_factory=AnswerLengths)
    work: _Mean = field(default_factory=_Mean)
    tokens: _Mean = field(default_factory=_Mean)
    refused: float = 0.0

    def let_in(self, work: float, tokens: float) -> None:
        self.work.saw(work)
        self.tokens.saw(tokens)


@dataclass(slots=True)
class _Asked:
    """What came last, as long as it may be let in; its work and tokens, where they are known."""

    ticket: Ticket
    usual: _Usual
    work: float = 0.0
    tokens: float = 0.0


class Preference:
    """Remembers, for each lane, what requests were like as they came, and how long their answers were."""

    def __init__(self) -> None:
        self._shares: dict[Lane, float] = {}
        self._usual: Recent[tuple[Lane, str], _Usual] = Recent(_MAX_TENANTS)
        self._asked: _Asked | None = None

    def came(self, ticket: Ticket) -> float:
        """Note a request that comes; return by what factor its forecast is to count for what is cached, 1 or more."""
        share = ticket.cached_tokens / max(1, ticket.size.prompt_tokens)
        usual = _KEEP * self._shares.get(ticket.lane, 0.0) + (1.0 - _KEEP) * share
        self._shares[ticket.lane] = usual
        return 1.0 + STRENGTH * max(0.0, usual - share)

    def came_to_work(self, ticket: Ticket, now_s: float) -> float:
        """Note a request that comes; return by what factor its forecast is to count for its work, 1 or more. It counts
        as refused until it is let in."""
        usual, prompt_tokens = self._usual_of(ticket), ticket.size.prompt_tokens
        usual.refused = _KEEP * usual.refused + (1.0 - _KEEP)
        expected = usual.answers.expected(prompt_tokens, now_s)
        if expected is None:
            self._asked = _Asked(ticket, usual)
            return 1.0
        answer_tokens = min(expected, most_tokens(ticket.request))
        work, tokens = work_of(prompt_tokens, answer_tokens), prompt_tokens + answer_tokens
        self._asked = _Asked(ticket, usual, work, tokens)
        if not usual.work.weight:
            return 1.0
        worth = WORTH_OF_ONE + (1.0 - WORTH_OF_ONE) * tokens / usual.tokens.value
        work_for_worth = work / usual.work.value / worth
        strength = WORK_STRENGTH * usual.refused * (1.0 - prompt_tokens / work)
        return min(1.0 + strength * max(0.0, work_for_worth - CLEARLY), MOST)

    def let_in(self, ticket: Ticket) -> None:
        """Note that the request that came last may wait."""
        asked, self._asked = self._asked, None
        if asked is None or asked.ticket is not ticket:
            return
        asked.usual.refused -= 1.0 - _KEEP
        if asked.tokens:
            asked.usual.let_in(asked.work, asked.tokens)

    def began(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of an answer came."""
        self._usual_of(ticket).answers.began(ticket.size.prompt_tokens, now_s)

    def over(self, ticket: Ticket, answer_tokens: int | None, now_s: float) -> None:
        """Note that an engine works on a request no more, and learn how long its answer was; None: it has none."""
        prompt_tokens, answers = ticket.size.prompt_tokens, self._usual_of(ticket).answers
        if ticket.first_s is not None:
            answers.over(prompt_tokens, ticket.first_s)
        if answer_tokens is not None:
            took_s = 0.0 if ticket.first_s is None else now_s - ticket.first_s
            answers.answered(prompt_tokens, answer_tokens, took_s)

    def _usual_of(self, ticket: Ticket) -> _Usual:
        key = (ticket.lane, ticket.request.tenant)
        usual = self._usual.get(key)
        if usual is None:
            usual = _Usual()
            self._usual.put(key, usual)
        return usual


def most_tokens(request: Request) -> float:
    """Return how long its answer may be."""
    named = None if isinstance(request, TextsRequest) else request.sampling.max_tokens
    return math.inf if named is None else named
