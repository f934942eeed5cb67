"""Which machine runs a chain, and what reads for it. The one place that knows every kind of step."""

from typing import Any

from operators.chain import fused_machine
from operators.context import Context
from operators.machine import Machine
from sage.flow.plan import Chain
from sage.flow.ports import SourceReader
from sage.flow.spec import Read


def machine_for(chain: Chain, context: Context) -> Machine:
    """Return a new machine for one instance of `chain`."""
    return fused_machine(chain.steps, context)


def reader_for(chain: Chain) -> SourceReader[Any] | None:
    """Open the source of a chain that begins with a Read, else return None; raises SourceUnreadable."""
    first = chain.steps[0].spec
    return first.source.open() if isinstance(first, Read) else None
