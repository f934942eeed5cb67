"""Which machine runs a chain, and what reads for it. The one place that knows every kind of step."""

from dataclasses import replace
from typing import Any

from operators.buffering import BufferingMachine
from operators.chain import fused_machine
from operators.context import Context
from operators.due_machine import DueLeavingMachine, DueMachine
from operators.due_steps import on_dues
from operators.due_wording import DueWording
from operators.generation import Generation
from operators.in_body import InBodyMachine, in_body
from operators.iterating import IterateMachine
from operators.machine import Machine
from operators.model import ModelMachine, Wording
from operators.partitions_reader import dealt_reader
from operators.reranking import Reranking
from operators.turn_machine import LeavingMachine, PerTurn, TurnMachine
from operators.turn_steps import on_turns
from operators.turn_wording import TurnWording
from operators.waiting import MapAsyncMachine
from sage.base.dues import value_of
from sage.base.errors import SourceUnreadable
from sage.base.inference import Origin
from sage.flow.chat import ChatSource
from sage.flow.connectors.http_source import HttpSource
from sage.flow.dealing import PartitionsRead
from sage.flow.graph import DueRole, Step, TurnRole
from sage.flow.plan import Chain
from sage.flow.ports import PartitionedSource, RewindableSource, SourceReader
from sage.flow.spec import Embed, Generate, Iterate, MapAsync, MapBatches, ModelStep, Read, Rerank


def machine_for(chain: Chain, context: Context) -> Machine:
    """Return a new machine for one instance of `chain`: steps that wait stand alone, all others are fused."""
    first = chain.steps[0]
    if isinstance(first.spec, Iterate):
        return _loop_machine(first, first.spec)
    if first.inside is not None:
        steps = tuple(in_body(step) for step in chain.steps)
        return InBodyMachine(_machine_by_turns(replace(chain, steps=steps), context))
    return _machine_by_turns(chain, context)


def _loop_machine(step: Step, spec: Iterate) -> Machine:
    match step.dues:
        case None:
            return IterateMachine(step, spec)
        case DueRole.LEAVES:
            return IterateMachine(step, spec, taken=value_of)
        case DueRole.ON_WAY:
            return IterateMachine(step, spec, seen=value_of)


def _machine_by_turns(chain: Chain, context: Context) -> Machine:
    match chain.steps[0].turns:
        case None:
            return _due_machine(chain, context)
        case TurnRole.LEAVES:
            return LeavingMachine(_due_machine(chain, context))
        case TurnRole.ON_WAY | TurnRole.SPEAKS:
            return TurnMachine(_turn_machine(chain, context), context.turns)


def reader_for(chain: Chain, context: Context) -> SourceReader[Any] | None:
    """Open the source of a chain that begins with a Read, else return None; raises SourceUnreadable."""
    first = chain.steps[0]
    if not isinstance(first.spec, Read):
        return None
    match first.spec.source:
        case ChatSource() as chat:
            return context.turns.reader(first.name, chat)
        case HttpSource() as posted:
            return context.listen(posted, None, context.instance, chain.parallelism)
        case RewindableSource() as source if chain.parallelism == 1:
            return source.open()
        case PartitionedSource() as source:
            return dealt_reader(source, PartitionsRead(), context.instance, chain.parallelism)
        case source:
            return source.open()


def _due_machine(chain: Chain, context: Context) -> Machine:
    """Return the machine of a chain that no chat request passes; its records may be due at some time."""
    first = chain.steps[0]
    match first.dues:
        case None:
            return _machine(chain, context)
        case DueRole.LEAVES:
            return DueLeavingMachine(_machine(chain, context))
        case DueRole.ON_WAY:
            steps = tuple(on_dues(step) for step in chain.steps)
            spec = steps[0].spec
            if not isinstance(spec, ModelStep):
                return DueMachine(_machine(replace(chain, steps=steps), context))
            origin = _origin(first, context)
            wording = DueWording(_wording(spec, origin), origin, context.unix_s)
            return DueMachine(ModelMachine(steps[0], spec, wording, context))


def _machine(chain: Chain, context: Context) -> Machine:
    first = chain.steps[0]
    spec = first.spec if len(chain.steps) == 1 else None
    match spec:
        case MapAsync():
            return MapAsyncMachine(first, _own(spec), context.rng)
        case Generate() | Embed() | Rerank():
            return ModelMachine(first, spec, _wording(spec, _origin(first, context)), context)
        case MapBatches(max_wait_s=float() | int() as max_wait_s):
            return BufferingMachine(first, spec, max_wait_s, context.batch_records)
        case _:
            return fused_machine(chain.steps, context)


def _own(spec: MapAsync) -> MapAsync:
    """Return `spec` with the function that this task calls: one of its own, where `fn` is a value that makes one."""
    for_task = getattr(spec.fn, "for_task", None)
    return spec if for_task is None else replace(spec, fn=for_task())


def reader_at(chain: Chain, position: Any, context: Context) -> SourceReader[Any]:
    """Go on with the source of a chain where an earlier reader said it was; raises SourceUnreadable."""
    first = chain.steps[0].spec
    if isinstance(first, Read) and isinstance(first.source, ChatSource):
        return context.turns.reader(chain.steps[0].name, first.source)
    if isinstance(first, Read) and isinstance(first.source, HttpSource):
        return context.listen(first.source, position, context.instance, chain.parallelism)
    if isinstance(first, Read) and (chain.parallelism > 1 or isinstance(position, PartitionsRead)):
        if not isinstance(first.source, PartitionedSource):
            what = f"the checkpoint has step {chain.steps[0].name!r} read by partitions, and its source has none now"
            raise SourceUnreadable(what, 'Give it partitions() again, or begin anew: resume="never".')
        return dealt_reader(first.source, position, context.instance, chain.parallelism)
    if not isinstance(first, Read) or not isinstance(first.source, RewindableSource):
        raise SourceUnreadable(
            f"step {chain.steps[0].name!r} reads a source that cannot go on where it was",
            'Give it open_at(position), or begin anew: resume="never".',
        )
    return first.source.open_at(position)


def _turn_machine(chain: Chain, context: Context) -> Machine:
    """Return a machine over records of chat requests."""
    first = chain.steps[0]
    spec = first.spec if len(chain.steps) == 1 else None
    match spec:
        case MapAsync():
            step = on_turns(replace(first, spec=_own(spec)), context.turns)
            assert isinstance(step.spec, MapAsync)
            return MapAsyncMachine(step, step.spec, context.rng, PerTurn(spec.max_in_flight, ordered=spec.ordered))
        case Generate() | Embed() | Rerank():
            wording = TurnWording(
                first, _wording(_hearing_values(spec), _origin(first, context)), context.turns, context.job_id
            )
            order = PerTurn(spec.max_in_flight, ordered=spec.ordered)
            return ModelMachine(first, replace(spec, dedup=False), wording, context, order)
        case _:
            steps = tuple(on_turns(step, context.turns) for step in chain.steps)
            return _machine(replace(chain, steps=steps), context)


def _origin(step: Step, context: Context) -> Origin:
    """Return who asks; of a flow each run learns for itself how long its steps take."""
    return Origin(str(context.job_id), step.name)


def _wording(spec: ModelStep, origin: Origin) -> Wording:
    if isinstance(spec, Generate):
        return Generation(spec, origin)
    if isinstance(spec, Rerank):
        return Reranking(spec, origin)
    from operators.embedding import Embedding  # numpy is loaded by flows that embed, not by the others

    return Embedding(spec, origin)


def _hearing_values(spec: ModelStep) -> ModelStep:
    """Return `spec` with an `on_token` that is given values, though it is called with records of chat requests."""
    if not isinstance(spec, Generate) or spec.on_token is None:
        return spec
    on_token = spec.on_token
    return replace(spec, on_token=lambda record, text: on_token(record.value, text))
