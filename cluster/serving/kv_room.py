"""How many more requests the memory of an engine for keys and values (KV) holds. Knows no engine and no queue.

Beyond it an engine stops what it works on and later works it off anew (vLLM: preemption by recomputation), so that
more at once is less in all. What a request needs is its prompt and the answer that is to be expected, by how long those
before were. Engines keep what prompts share once: of that as much is counted as they say.
"""

from cluster.serving.answer_lengths import AnswerLengths
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.ticket import Ticket
from sage.base.inference import TextsRequest

SHARE_OF_ANSWER = 0.6
"""What of the answers of all inside counts: when one comes, the others are halfway on average; half had a fifth
more preempted, and all of each costs up to a sixth of the tokens (rough, simulated: docs/log.md, 2026-11-24)."""

FULL = 0.9  # of the memory is used: what waits inside waits for it, and not for its turn
MORE, LESS = 1.02, 0.99
MOST_CAUTION = 1.2
"""What is needed counts MORE times as much with each report of preemptions, and LESS with each without, up to so much:
answers may be longer than any that has ended so far."""
_KEEP = 0.9  # of what was known, with each request and each report
_MANY = 1 << 30


class KvRoom:
    """Of one engine that told how many tokens it holds. All O(1) but `told`, which is O(held)."""

    __slots__ = (
        "_answer_tokens",
        "_caution",
        "_mean_answer",
        "_mean_prompt",
        "_num_held",
        "_num_preempted",
        "_num_stuck",
        "_own",
        "_prompt_tokens",
        "answers",
        "tokens",
    )

    def __init__(self, figures: EngineFigures) -> None:
        self.tokens = figures.kv_tokens
        self.answers = AnswerLengths()
        self._prompt_tokens = 0
        self._answer_tokens = 0.0
        self._num_held = 0
        self._mean_prompt = self._mean_answer = 0.0  # of those that came lately
        self._own = 1.0  # share of the prompts that is kept for one request alone
        self._caution = 1.0
        self._num_preempted = figures.num_preempted
        self._num_stuck = 0  # since some wait inside for memory: how many of all inside may end before it is told anew

    @property
    def used(self) -> float:
        """The share of the memory that what is held comes to need."""
        return self._caution * (self._own * self._prompt_tokens + self._answer_tokens) / self.tokens

    @property
    def num_free(self) -> int:
        """How many more requests like those that came lately it holds; where it holds nothing, one at least. None while
        something waits inside for memory: what ends is room for that."""
        if self._num_stuck and self._num_held:
            return 0
        if not self._mean_prompt:
            return _MANY
        need = self._caution * (self._own * self._mean_prompt + self._mean_answer)
        num = int((1.0 - self.used) * self.tokens / need)
        return max(num, 0 if self._num_held else 1)

    def take(self, ticket: Ticket, now_s: float) -> None:
        """Count a ticket that the engine gets."""
        prompt_tokens, answer_tokens = ticket.size.prompt_tokens, self._expected(ticket, now_s)
        ticket.kv_answer_tokens = answer_tokens
        self._prompt_tokens += prompt_tokens
        self._answer_tokens += answer_tokens
        self._num_held += 1
        new = 1.0 - _KEEP if self._mean_prompt else 1.0
        self._mean_prompt += new * (prompt_tokens - self._mean_prompt)
        self._mean_answer += new * (answer_tokens - self._mean_answer)

    def began(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of a ticket came."""
        self.answers.began(ticket.size.prompt_tokens, now_s)

    def drop(self, ticket: Ticket, made_tokens: int | None, now_s: float) -> None:
        """Count a ticket no more; `made_tokens`: the length of its answer, None where it has none."""
        self._prompt_tokens -= ticket.size.prompt_tokens
        self._answer_tokens -= ticket.kv_answer_tokens
        self._num_held -= 1
        if self._num_stuck:
            self._num_stuck -= 1
        if not self._num_held:  # what rounding left goes with the last
            self._answer_tokens = 0.0
        if ticket.first_s is not None:
            self.answers.over(ticket.size.prompt_tokens, ticket.first_s)
            if made_tokens is not None:
                self.answers.answered(ticket.size.prompt_tokens, made_tokens, now_s - ticket.first_s)

    def told(self, figures: EngineFigures, begun_tokens: int, num_begun: int) -> None:
        """Take what the engine says. `begun_tokens`: of the `num_begun` prompts in it that have their first token.

        Where it uses less than all of these alone would need, they share the rest; answers make that seem less than it
        is. Not looked at where it had fewer at work than are known to be: then it said so before they began.
        """
        self.tokens = figures.kv_tokens
        if figures.num_preempted > self._num_preempted:
            self._caution = min(MORE * self._caution, MOST_CAUTION)
        else:
            self._caution = max(LESS * self._caution, 1.0)
        self._num_preempted = figures.num_preempted
        self._num_stuck = self._num_held if figures.num_waiting and figures.kv_used > FULL else 0
        if begun_tokens and figures.kv_used and figures.num_running >= num_begun:
            own = min(1.0, figures.kv_used * figures.kv_tokens / begun_tokens)
            self._own = _KEEP * self._own + (1.0 - _KEEP) * own

    def _expected(self, ticket: Ticket, now_s: float) -> float:
        """Return what its answer comes to need, on average over the time that others come."""
        return SHARE_OF_ANSWER * self._answer(ticket, now_s)

    def _answer(self, ticket: Ticket, now_s: float) -> float:
        expected = self.answers.expected(ticket.size.prompt_tokens, now_s)
        if expected is None:
            return ticket.size.answer_tokens
        request = ticket.request
        most = None if isinstance(request, TextsRequest) else request.sampling.max_tokens
        return expected if most is None else min(expected, most)

    def check(self, tickets: list[Ticket]) -> None:
        """Assert what always holds, where `tickets` are held; for tests."""
        assert self._num_held == len(tickets), "what is held is counted"
        assert self._prompt_tokens == sum(each.size.prompt_tokens for each in tickets)
        assert abs(self._answer_tokens - sum(each.kv_answer_tokens for each in tickets)) < 1.0
