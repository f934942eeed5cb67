"""What a model step asks at once, and what to do when that failed. Pure; knows nothing of prompts or vectors."""

from dataclasses import dataclass, field

from operators.inflight import Slot
from sage.base.errors import (
    CallerError,
    DeadlineExceeded,
    NoEngine,
    Overloaded,
    QuotaExceeded,
    RequestFailed,
    SageError,
)
from sage.base.ids import RequestId
from sage.flow.graph import Step

MAX_WAITED_S = 300.0
"""How long one record waits, in all, while queues are full or quotas used up. A stream waits rather than fails, but not
for ever."""

MAX_NO_ENGINE_S = 30.0
"""How long it waits where no engine is up or starting: one that starts has its requests wait in the control plane, so
here somebody would have to start one."""


@dataclass(slots=True, eq=False)
class OpenAsk:
    """Records that one request speaks for. `texts[i]` was made of `slots[i]`; `pieces` of the answer came so far.

    `num_tries`: how often it was asked again; `num_failed`: how often it was asked in vain, in larger ones too.
    `waited_s`: how long it was put off in all by full queues and missing engines. `has_spoken`: pieces of its answer
    were passed on, so that it cannot be asked a second time. `asked_by`: the request that asks now, or did so last.
    """

    slots: list[Slot]
    texts: list[tuple[str, ...]]
    num_tries: int = 0
    num_failed: int = 0
    waited_s: float = 0.0
    pieces: list[str] = field(default_factory=list)
    has_spoken: bool = False
    asked_by: RequestId | None = None

    def halves(self) -> "tuple[OpenAsk, OpenAsk]":
        """Return it in two, which may each be asked again as often as it."""
        middle = len(self.slots) // 2
        first, second = slice(None, middle), slice(middle, None)
        return (
            OpenAsk(self.slots[first], self.texts[first], num_failed=self.num_failed, waited_s=self.waited_s),
            OpenAsk(self.slots[second], self.texts[second], num_failed=self.num_failed, waited_s=self.waited_s),
        )


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Ask at once: one of the step's own retries."""


@dataclass(frozen=True, slots=True)
class AskLater:
    """Ask `after_s` from now: nothing failed, there was no room yet."""

    after_s: float


@dataclass(frozen=True, slots=True)
class AskApart:
    """Ask in halves, to find the record that is at fault."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step's policy decides over the records."""

    error: Exception


Next = AskAgain | AskLater | AskApart | GiveUp


def next_after(error: Exception, question: OpenAsk, step: Step, deadline_s: float | None) -> Next:
    """Return what becomes of `question` after `error`.

    | error | next |
    | --- | --- |
    | pieces of the answer were passed on | give up |
    | no room, quota or engine, it says when | later, up to MAX_WAITED_S or MAX_NO_ENGINE_S and the deadline in all |
    | one that may pass, tries left | again |
    | one record's fault, several asked | apart |
    | else | give up |
    """
    if question.has_spoken:
        return GiveUp(error)
    if isinstance(error, Overloaded | QuotaExceeded | NoEngine) and error.retry_after_s is not None:
        return _later(error, error.retry_after_s, question, deadline_s)
    if not isinstance(error, CallerError) and question.num_tries < step.retries:
        return AskAgain()
    if isinstance(error, CallerError | RequestFailed) and len(question.slots) > 1:
        return AskApart()
    return GiveUp(error)


def _later(error: SageError, after_s: float, question: OpenAsk, deadline_s: float | None) -> Next:
    waited_s = question.waited_s + after_s
    if deadline_s is not None and waited_s >= deadline_s:
        late = DeadlineExceeded(f"no engine had room within the deadline of {deadline_s:g} s: {error.what}", error.do)
        return GiveUp(late)
    if waited_s > (MAX_NO_ENGINE_S if isinstance(error, NoEngine) else MAX_WAITED_S):
        tired = type(error)(f"still so after waiting {question.waited_s:.0f} s: {error.what}", error.do)
        return GiveUp(tired)
    return AskLater(after_s)
