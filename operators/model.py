"""Asks the control plane about records and gives them the replies, in order. Knows no kind of request."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

from operators.any_order import order_for
from operators.asking import AskAgain, AskApart, AskLater, GiveUp, OpenAsk, next_after
from operators.backing_off import wait_before_retry_s
from operators.context import Context
from operators.failure import Failures, Numbers
from operators.inflight import InOrder, Slot
from operators.machine import Ask, CallResult, Command, Counts, Emit, SetTimer, Withdraw
from operators.state import State, StepState
from operators.twins import Twins, has_one_answer
from sage.base.batch import Batch
from sage.base.errors import CallerError, InternalError
from sage.base.ids import RequestId, new_id
from sage.base.inference import Failed, Last, Reply, Request, Token
from sage.flow.graph import Step
from sage.flow.spec import Generate, ModelStep


class Wording(Protocol):
    """How one kind of model step speaks: records to requests, answers to replies."""

    max_texts: int

    def is_wanted(self, record: Any) -> bool:
        """Say whether anybody still waits for what becomes of `record`."""
        ...

    def texts_of(self, record: Any) -> tuple[str, ...]:
        """Return what is asked about `record`; may raise anything that a user's function may."""
        ...

    def unasked(self, texts: tuple[str, ...]) -> tuple[Any] | None:
        """Return the reply where it is known without asking, as a tuple of one."""
        ...

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request: ...

    def hear(self, question: OpenAsk, token: Token) -> None:
        """Take a piece of an answer; may raise anything that a user's function may."""
        ...

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        """Return the reply to each record of the question, from its whole answer."""
        ...

    def put(self, record: Any, reply: Any) -> Any:
        """Return the record with its reply; may raise anything that a user's function may."""
        ...


class ModelMachine:
    """A record waits for a permit, is asked about, and leaves with its reply once those before it have left.

    A refusal for want of room is waited out (`operators.asking`); other failures are tried again or given up as the
    step says. A permit is held all the while, so `max_in_flight` bounds what is asked and what waits to be asked again.
    """

    def __init__(
        self, step: Step, spec: ModelStep, wording: Wording, context: Context, order: InOrder | None = None
    ) -> None:
        """`order`: in which records leave; by default as the step says."""
        self.counts = Counts()
        self._step = step
        self._deadline_s = spec.deadline_s
        self._try_s = spec.timeout_s
        self._backoff_s = spec.backoff_s
        self._wording = wording
        self._rng = context.rng
        self._failures = Failures()
        self._order = order if order is not None else order_for(step, spec.max_in_flight, ordered=spec.ordered)
        self._twins = Twins() if _shares(spec) else None
        self._asked: dict[RequestId, OpenAsk] = {}
        self._put_off: dict[int, OpenAsk] = {}
        self._next_timer = 0

    def open(self) -> None:
        pass

    def restore(self, state: State) -> list[Command]:
        """Ask again about records that had no whole answer."""
        if (own := state.get(self._step.name)) is not None:
            self._order.restore(own.held, is_dealt=own.is_dealt)
        return self._after([], [])

    def snapshot(self) -> State:
        held = self._order.held()
        return {self._step.name: StepState(held=held)} if held else {}

    def room(self) -> int:
        return self._order.room()

    def on_batch(self, batch: Batch) -> list[Command]:
        self.counts.num_batches += 1
        self.counts.records_in += len(batch)
        self._order.add(batch)
        return self._after([], [])

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        commands: list[Command] = []
        again: list[OpenAsk] = []
        for reply in replies:
            question = self._asked.get(reply.request_id)
            if question is None:
                continue  # withdrawn before: its last pieces may still come
            if isinstance(reply, Token):
                error = self._hear(question, reply)
                commands.extend(self._withdraw(reply.request_id) if error is not None else ())
            else:
                error = self._take(question, reply)
            if error is not None:
                commands.extend(self._failed(question, error, again))
        return self._after(commands, again)

    def on_timer(self, timer_id: int) -> list[Command]:
        question = self._put_off.pop(timer_id, None)
        if question is None:
            return []
        return [self._ask([question])] if self._is_wanted(question) else self._after(self._let_go(question), [])

    # Replies.

    def _hear(self, question: OpenAsk, token: Token) -> Exception | None:
        try:
            self._wording.hear(question, token)
        except InternalError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's on_token may raise anything: the policy decides
            return error
        return None

    def _withdraw(self, request_id: RequestId) -> list[Command]:
        del self._asked[request_id]
        return [Withdraw((request_id,))]

    def _take(self, question: OpenAsk, reply: Last) -> Exception | None:
        """Take the end of a question; return the error where it failed."""
        del self._asked[reply.request_id]
        if isinstance(reply, Failed):
            return reply.failure.error()
        self.counts.prompt_tokens += reply.usage.prompt_tokens
        self.counts.completion_tokens += reply.usage.completion_tokens
        for slots, said in zip(self._with_twins(question), self._wording.replies(question, reply), strict=True):
            for slot in slots:
                self._finish(slot, said)
        return None

    def _with_twins(self, question: OpenAsk) -> list[list[Slot]]:
        """Return, for each text of a question that has ended, the records that it was asked for."""
        if self._twins is None:
            return [[slot] for slot in question.slots]
        pairs = zip(question.slots, question.texts, strict=True)
        return [[slot, *self._twins.part(texts)] for slot, texts in pairs]

    def _finish(self, slot: Slot, said: Any) -> None:
        done = self._failures.tried(self._step, slot.record, slot.number, self._wording.put, slot.record, said)
        if done is None:
            self._order.drop(slot)
        else:
            self._order.finish(slot, done[0])

    def _failed(self, question: OpenAsk, error: Exception, again: list[OpenAsk]) -> list[Command]:
        question.pieces.clear()
        if not self._is_wanted(question):
            return self._let_go(question)
        match next_after(error, question, self._step, self._deadline_s):
            case AskAgain():
                question.num_tries += 1
                question.num_failed += 1
                wait_s = wait_before_retry_s(error, question.num_tries, self._backoff_s, self._rng)
                if wait_s is None:
                    self._give_up(question, error, question.num_failed)
                elif wait_s:
                    return [self._put_it_off(question, wait_s)]
                else:
                    again.append(question)
            case AskApart():
                question.num_failed += not isinstance(error, CallerError)  # else who is at fault was only looked for
                again.extend(question.halves())
            case AskLater(after_s):
                question.waited_s += after_s
                return [self._put_it_off(question, after_s)]
            case GiveUp(final):  # another error than this one: it waited for too long, and was not asked
                self._give_up(question, final, question.num_failed + (final is error))
        return []

    def _give_up(self, question: OpenAsk, error: Exception, num_tries: int) -> None:
        for slot in chain.from_iterable(self._with_twins(question)):
            numbers = Numbers(slot.number, slot.number)
            self._failures.give_up(
                self._step, error, [slot.record], numbers, timestamp_s=slot.timestamp_s, num_tries=num_tries
            )
            self._order.drop(slot)

    def _put_it_off(self, question: OpenAsk, after_s: float) -> SetTimer:
        self._next_timer += 1
        self._put_off[self._next_timer] = question
        return SetTimer(self._next_timer, after_s)

    def _is_wanted(self, question: OpenAsk) -> bool:
        return any(self._wording.is_wanted(slot.record) for slot in question.slots)

    def _let_go(self, question: OpenAsk) -> list[Command]:
        """Drop records that nobody waits for."""
        for slot in question.slots:
            self._order.drop(slot)
        return []

    # Questions.

    def _after(self, commands: list[Command], again: list[OpenAsk]) -> list[Command]:
        """Ask what can be asked now and let go what is ready."""
        if questions := [*again, *self._new_questions()]:
            commands.append(self._ask(questions))
        batch = self._order.ready()
        commands.extend(self._failures.take())
        if batch is not None:
            self.counts.records_out += len(batch)
            commands.append(Emit(batch))
        return commands

    def _new_questions(self) -> list[OpenAsk]:
        """Take every record that gets a permit now: what is there is asked at once, nothing waits to fill a request."""
        slots: list[Slot] = []
        texts: list[tuple[str, ...]] = []
        while started := self._order.start():
            for slot in started:
                if not self._wording.is_wanted(slot.record):
                    self._order.drop(slot)
                    continue
                made = self._failures.tried(self._step, slot.record, slot.number, self._wording.texts_of, slot.record)
                if made is None:
                    self._order.drop(slot)
                elif (known := self._wording.unasked(made[0])) is not None:
                    self._finish(slot, known[0])
                elif self._twins is not None and self._twins.joins(made[0], slot):
                    self._order.give_back(slot)
                else:
                    slots.append(slot)
                    texts.append(made[0])
        num = self._wording.max_texts
        return [OpenAsk(slots[at : at + num], texts[at : at + num]) for at in range(0, len(slots), num)]

    def _ask(self, questions: Sequence[OpenAsk]) -> Ask:
        requests: list[Request] = []
        for question in questions:
            request_id = RequestId(new_id("r", self._rng))
            left_s = None if self._deadline_s is None else self._deadline_s - question.waited_s
            timeout_s = min((limit_s for limit_s in (left_s, self._try_s) if limit_s is not None), default=None)
            self._asked[request_id] = question
            requests.append(self._wording.request(request_id, question, timeout_s))
        self.counts.num_requests += len(requests)
        return Ask(tuple(requests))

    # The end.

    def on_end(self) -> list[Command]:
        return []

    def is_done(self) -> bool:
        return len(self._order) == 0

    def close(self, *, complete: bool) -> list[Command]:
        """Withdraw what was asked and not answered; after a complete stream there is nothing."""
        request_ids = tuple(self._asked)
        self._asked.clear()
        self._put_off.clear()
        return [Withdraw(request_ids)] if request_ids else []

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        raise InternalError(f"{len(results)} results came to step {self._step.name!r}, which calls no coroutine")


def _shares(spec: ModelStep) -> bool:
    """Say whether records about which the same is asked share a request."""
    if spec.dedup is None:
        return not isinstance(spec, Generate) or has_one_answer(spec)
    return spec.dedup
