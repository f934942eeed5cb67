"""What one step alone may ask for: numbers in range, functions that can be called. Knows nothing of its neighbours."""

from collections.abc import Iterator
from inspect import iscoroutinefunction
from itertools import chain
from math import inf

from sage.base.errors import FlowInvalid
from sage.flow.check_numbers import (
    Fault,
    above_zero,
    at_least,
    counts,
    finite,
    required,
    texts,
    whole_numbers,
    yes_or_no,
)
from sage.flow.check_shape import faults_of_shape
from sage.flow.check_types import types_of_records
from sage.flow.graph import OnError, Step
from sage.flow.iterate import INSIDE
from sage.flow.kinds import kind_of_step
from sage.flow.shares import fault_of_sharing
from sage.flow.spec import (
    Again,
    Aggregate,
    AsOf,
    AssignTimestamps,
    Combine,
    Embed,
    Filter,
    FlatMap,
    Fold,
    ForEach,
    Gather,
    Generate,
    IndexInto,
    Iterate,
    JoinWindows,
    KeyBy,
    Map,
    MapAsync,
    MapBatches,
    Process,
    Read,
    Reduce,
    Reply,
    Rerank,
    Retrieve,
    Spec,
    Split,
    TakeSide,
    ToAll,
    Union,
    Waiting,
    Window,
    Within,
    Write,
)
from sage.flow.template import fields_of_template
from sage.flow.undealt import fault_of_dealing
from sage.flow.windows import CountWindow

MAX_PARALLELISM = 1_024
"""Instances of one step: each is a task with an inbox, and is linked to all those of the next step."""

_ONE_TASK = {
    ToAll: "a stream is given to all instances",
    Iterate: "the records of a loop are counted",
}
_WITHOUT_FUNCTION = (Read, Union, TakeSide, Again, ToAll, Write)


def check_step(step: Step) -> None:
    """Raise FlowInvalid, naming the user's line, where `step` cannot be honoured as it is."""
    for fault in chain(_faults_of_spec(step.spec), _faults_of_settings(step)):  # the first: others may come of it
        raise FlowInvalid(f"{step.where}: {fault.what}", fault.do, param=fault.param)


def _faults_of_spec(spec: Spec) -> Iterator[Fault]:
    match spec:
        case Map(fn) | Filter(fn) | FlatMap(fn) | KeyBy(fn) | ForEach(fn):
            yield from _callable(spec, fn)
        case Aggregate() | Reduce() | Fold():
            yield from _faults_of_keyed(spec)
        case MapBatches():
            yield from _faults_of_lists(spec)
        case MapAsync(fn=fn, dedup=dedup):
            yield from _callable(spec, fn)
            yield from _faults_of_calls(spec)
            yield from _callable(spec, dedup, "dedup") if callable(dedup) else yes_or_no(dedup=dedup)
        case Generate():
            yield from _faults_of_generate(spec)
        case Embed():
            yield from _faults_of_embed(spec)
        case Rerank():
            yield from _faults_of_rerank(spec)
        case Retrieve(k=k, vector=vector, into=into):
            yield from (*required(k=k), *counts(k=k))
            yield from _field(vector=vector, into=into)
        case IndexInto(text=text, vector=vector, source=source):
            yield from _text_of_record(text)
            yield from _field(vector=vector, source=source)
        case Reply(text=text) if text is not None:
            yield from _text_of_record(text)
        case AssignTimestamps() | Read():
            yield from _faults_of_time(spec)
        case Window() | Process() | Within() | JoinWindows() | AsOf():
            yield from _faults_of_timed(spec)
        case Split() | Iterate():
            yield from _faults_of_split(spec) if isinstance(spec, Split) else _faults_of_loop(spec)
        case Union() | Write() | Reply() | TakeSide() | Again() | ToAll():
            pass


def _faults_of_keyed(spec: Aggregate | Reduce | Fold) -> Iterator[Fault]:
    match spec:
        case Aggregate(of=of):
            yield from _callable(spec, of, "of") if of is not None else ()
        case Reduce(fn=fn):
            yield from _callable(spec, fn)
        case Fold(initial=initial, fn=fn):
            yield from _callable(spec, fn)
            yield from _shared(initial)
    yield from yes_or_no(final=spec.final)


def _faults_of_timed(spec: Window | Process | Within | JoinWindows | AsOf) -> Iterator[Fault]:
    match spec:
        case Window():
            yield from _faults_of_window(spec)
        case Process(make=make):
            yield from _callable(spec, make, "process")
        case Within(before_s=before_s, after_s=after_s):
            faults = [
                *required(before_s=before_s, after_s=after_s),
                *at_least(-inf, before_s=before_s, after_s=after_s),
            ]
            yield from faults
            if not faults and not 0 <= before_s + after_s < inf:
                yield Fault(f"from {before_s} s before to {after_s} s after is no time at all", "", "before_s")
        case JoinWindows(shape=shape):
            yield from faults_of_shape(shape)
        case AsOf(is_outer=outer):
            yield from yes_or_no(outer=outer)


def _faults_of_lists(spec: MapBatches) -> Iterator[Fault]:
    yield from _callable(spec, spec.fn)
    yield from counts(max_records=spec.max_records)
    yield from above_zero(max_wait_s=spec.max_wait_s)
    if spec.max_wait_s is not None and spec.max_records is None:
        yield Fault("max_wait_s waits for a full batch, but max_records is not given", "Give both.", "max_records")


def _faults_of_split(spec: Split) -> Iterator[Fault]:
    if not spec.tags:
        yield Fault("split takes a predicate for each side, got none", 'Write split({"tag": predicate}).', "predicates")
    for tag in spec.tags:
        yield from texts('Write split({"tag": predicate}).', tag=tag)
    for predicate in spec.predicates:
        yield from _callable(spec, predicate, "predicates")


def _faults_of_loop(spec: Iterate) -> Iterator[Fault]:
    yield from _callable(spec, spec.until, "until")
    yield from required(max_rounds=spec.max_rounds, max_in_flight=spec.max_in_flight)
    yield from counts(max_rounds=spec.max_rounds, max_in_flight=spec.max_in_flight)
    tag: object = spec.unfinished_to
    if tag is not None and (not isinstance(tag, str) or tag in ("", INSIDE)):
        yield Fault(f"unfinished_to={tag!r:.80} is no tag", 'Write unfinished_to="unfinished".', "unfinished_to")


def _faults_of_time(spec: AssignTimestamps | Read) -> Iterator[Fault]:
    if isinstance(spec, Read):
        yield from types_of_records(as_type=getattr(spec.source, "as_type", None))
        yield from finite(due_in_s=spec.due_in_s)
    time = spec.time if isinstance(spec, Read) else spec
    if time is not None:
        yield from _callable(time, time.fn, "timestamp" if isinstance(spec, Read) else "fn")
        yield from required(max_out_of_order_s=time.max_out_of_order_s)
        yield from at_least(0, max_out_of_order_s=time.max_out_of_order_s)
        yield from above_zero(idle_after_s=time.idle_after_s)
        if time.partition is not None:
            yield from _callable(time, time.partition, "partition")


def _faults_of_window(spec: Window) -> Iterator[Fault]:
    yield from faults_of_shape(spec.shape)
    if isinstance(spec.shape, CountWindow) and (spec.allow_late_s or spec.late_to is not None):
        yield Fault("nothing is late for a window of a number of records", "Leave allow_late and late_to away.")
    if spec.trigger is not None:
        if isinstance(spec.shape, CountWindow):
            yield Fault("a window of a number of records is given when it is full", "Leave trigger away.")
        yield from counts(every_records=spec.trigger.every_records)
        yield from above_zero(every_s=spec.trigger.every_s)
    yield from required(seconds=spec.allow_late_s)
    yield from at_least(0, seconds=spec.allow_late_s)
    yield from texts('Write late_to("late").', late_to=spec.late_to)
    match spec.over:
        case Combine(create=create, add=add, merge=merge, result=result):
            functions = {"create": create, "add": add, "merge": merge, "result": result}
            for param, fn in functions.items():
                yield from _callable(spec, fn, param) if fn is not None else ()
        case Gather():
            pass
        case over:
            yield from _faults_of_spec(over)


def _faults_of_settings(step: Step) -> Iterator[Fault]:
    kind = kind_of_step(step.spec)
    yield from required(parallelism=step.parallelism)
    yield from counts(parallelism=step.parallelism)
    if step.parallelism > MAX_PARALLELISM:
        what = f"parallelism is {step.parallelism}; a step has at most {MAX_PARALLELISM:,} instances"
        yield Fault(what, "Give as many as there are CPUs for it.", "parallelism")
    if step.parallelism > 1 and (whole := _ONE_TASK.get(type(step.spec))) is not None:
        yield Fault(f"{whole} by one task, not by {step.parallelism}", "Put with_parallelism on another step.")
    if step.parallelism > 1 and isinstance(step.spec, Read):
        yield from filter(None, [fault_of_dealing(step.spec.source)])
    if step.parallelism > 1 and isinstance(step.spec, Write):
        yield from filter(None, [fault_of_sharing(step.spec.sink)])
    has_function = not isinstance(step.spec, _WITHOUT_FUNCTION) or getattr(step.spec, "time", None) is not None
    refuses = isinstance(step.spec, Write) and getattr(step.spec.sink, "refuses_records", False) is True
    if refuses and step.on_error is not OnError.FAIL:
        if step.on_error is OnError.RETRY or step.retries:
            yield Fault(f"{kind} tries no record again: it would be refused again", 'Write on_error("dead_letter").')
    elif step.on_error is not OnError.FAIL and not has_function:
        yield Fault(f"{kind} takes no on_error: it has no function that is called with a record", "Put it on a map.")
    if step.on_error is OnError.FAIL and step.retries:
        yield Fault('on_error("fail") never tries again', 'Write on_error("retry", retries=...).', "retries")
    yield from required(retries=step.retries)
    yield from whole_numbers(retries=step.retries)
    yield from at_least(1 if step.on_error is OnError.RETRY else 0, retries=step.retries)


def _faults_of_generate(spec: Generate) -> Iterator[Fault]:
    yield from _model(spec.model)
    yield from _template(prompt=spec.prompt, system=spec.system)
    yield from _faults_of_calls(spec)
    yield from counts(max_tokens=spec.max_tokens)
    yield from whole_numbers(seed=spec.seed)
    yield from required(temperature=spec.temperature)
    yield from at_least(0, temperature=spec.temperature)
    yield from above_zero(deadline_s=spec.deadline_s)
    yield from _field(into=spec.into)
    yield from yes_or_no(raw=spec.raw)
    if spec.raw and spec.system is not None:
        yield Fault("a raw prompt has no system message", "Put it into the prompt, or leave raw away.", "system")
    if spec.on_token is not None:
        yield from _callable(spec, spec.on_token, "on_token")
        if spec.dedup:
            what = (
                "on_token is called with the pieces of each record's own answer, and dedup shares one between records"
            )
            yield Fault(what, "Leave one of them away.", "dedup")
    if "" in spec.stop:
        yield Fault("stop holds an empty text: every answer would end at once", 'Write stop="END".', "stop")


def _faults_of_embed(spec: Embed) -> Iterator[Fault]:
    yield from _model(spec.model)
    yield from _faults_of_calls(spec)
    yield from above_zero(deadline_s=spec.deadline_s)
    yield from _field(into=spec.into)
    yield from _text_of_record(spec.text)


def _faults_of_rerank(spec: Rerank) -> Iterator[Fault]:
    yield from _model(spec.model)
    yield from _faults_of_calls(spec)
    yield from counts(k=spec.k)
    yield from above_zero(deadline_s=spec.deadline_s)
    yield from _field(passages=spec.passages, into=spec.into)
    yield from _text_of_record(spec.query, "query")


def _faults_of_calls(spec: Waiting) -> Iterator[Fault]:
    yield from required(max_in_flight=spec.max_in_flight, backoff_s=spec.backoff_s)
    yield from counts(max_in_flight=spec.max_in_flight)
    yield from yes_or_no(ordered=spec.ordered)
    if not isinstance(spec, MapAsync):
        yield from texts("", tenant=spec.tenant or "")
        yield from yes_or_no(dedup=spec.dedup) if spec.dedup is not None else ()
    yield from above_zero(timeout_s=spec.timeout_s)
    yield from at_least(0, backoff_s=spec.backoff_s)


def _text_of_record(text: object, param: str = "text") -> Iterator[Fault]:
    if isinstance(text, str) and text.isidentifier():
        return
    faults = list(_template(**{param: text}))
    yield from faults
    if isinstance(text, str) and not faults and not fields_of_template(text):
        yield Fault(
            f"{param}={text!r:.80} names no field: each record would have the same", f'Write {param}="{{body}}".', param
        )


def _callable(spec: Spec, fn: object, param: str = "fn") -> Iterator[Fault]:
    if not callable(fn):
        got = f"{fn!r:.80} ({type(fn).__name__})"
        yield Fault(f"{kind_of_step(spec)} takes a function, got {got}", "Give a function of the record.", param)
    elif iscoroutinefunction(fn) and not (isinstance(spec, MapAsync) and param == "fn"):
        what = f"{kind_of_step(spec)} takes a function that returns, and nobody would await the coroutine of {fn!r:.80}"
        yield Fault(what, "Await it in a step before: map_async(fn).", param)


def _shared(initial: object) -> Iterator[Fault]:
    if isinstance(initial, list | dict | set | bytearray):
        kind = type(initial).__name__
        yield Fault(
            f"fold would share one {kind} between all keys", f"Give what makes one: fold({kind}, ...).", "initial"
        )


def _model(model: object) -> Iterator[Fault]:
    if not isinstance(model, str) or not model:
        yield Fault(f"model= takes the name of a model, got {model!r}", 'Write model="smollm2".', "model")


def _field(**fields: object) -> Iterator[Fault]:
    for param, field in fields.items():
        if not (field is None or callable(field) or (isinstance(field, str) and field.isidentifier())):
            what = f"{param}= takes a field's name or a function, got {field!r:.80}"
            yield Fault(what, f'Write {param}="name_of_a_field", or give a function.', param)


def _template(**templates: object) -> Iterator[Fault]:
    for param, template in templates.items():
        if isinstance(template, str):
            try:
                fields_of_template(template)
            except FlowInvalid as error:
                yield Fault(error.what, error.do, param)
        elif template is not None and not callable(template):
            yield Fault(f"{param}= takes a template or a function of the record, got {template!r:.80}", "", param)
