"""Which machine runs a chain, and what reads for it. The one place that knows every kind of step."""

from typing import Any

from operators.buffering import BufferingMachine
from operators.chain import fused_machine
from operators.context import Context
from operators.generation import Generation
from operators.machine import Machine
from operators.model import ModelMachine
from operators.waiting import MapAsyncMachine
from sage.base.errors import SourceUnreadable
from sage.flow.plan import Chain
from sage.flow.ports import RewindableSource, SourceReader
from sage.flow.spec import Embed, Generate, MapAsync, MapBatches, Read


def machine_for(chain: Chain, context: Context) -> Machine:
    """Return a new machine for one instance of `chain`: steps that wait stand alone, all others are fused."""
    first = chain.steps[0]
    spec = first.spec if len(chain.steps) == 1 else None
    match spec:
        case MapAsync():
            return MapAsyncMachine(first, spec)
        case Generate():
            return ModelMachine(first, spec, Generation(spec), context)
        case Embed():
            from operators.embedding import Embedding  # numpy is loaded by flows that embed, not by the others

            return ModelMachine(first, spec, Embedding(spec), context)
        case MapBatches(max_wait_s=float() | int() as max_wait_s):
            return BufferingMachine(first, spec, max_wait_s, context.batch_records)
        case _:
            return fused_machine(chain.steps, context)


def reader_for(chain: Chain) -> SourceReader[Any] | None:
    """Open the source of a chain that begins with a Read, else return None; raises SourceUnreadable."""
    first = chain.steps[0].spec
    return first.source.open() if isinstance(first, Read) else None


def reader_at(chain: Chain, position: Any) -> SourceReader[Any]:
    """Go on with the source of a chain where an earlier reader said it was; raises SourceUnreadable."""
    first = chain.steps[0].spec
    if not isinstance(first, Read) or not isinstance(first.source, RewindableSource):
        raise SourceUnreadable(
            f"step {chain.steps[0].name!r} reads a source that cannot go on where it was",
            'Give it open_at(position), or begin anew: resume="never".',
        )
    return first.source.open_at(position)
