"""Steps in the body of a loop: what they are told besides their own, and what is shown of them. Knows no loop.

Their records have no event time but numbers (`operators.rounds`), which nobody is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from operators.around import Around
from operators.listed import listed
from operators.machine import Command, DeadLetter
from sage.base.errors import InvalidRequest
from sage.flow.graph import Step
from sage.flow.spec import MapBatches


class InBodyMachine(Around):
    """Sets records aside without their numbers."""

    def _out(self, commands: list[Command]) -> list[Command]:
        return [
            replace(command, timestamp_s=None) if isinstance(command, DeadLetter) else command for command in commands
        ]


def in_body(step: Step) -> Step:
    """Return `step` as it is in a body: lists of records become lists of as many, so that each has its rounds."""
    if not isinstance(step.spec, MapBatches):
        return step
    return replace(step, spec=replace(step.spec, fn=_one_for_one(step.spec.fn)))


def _one_for_one(fn: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Sequence[Any]]:
    def each(records: list[Any]) -> Sequence[Any]:
        values: Sequence[Any] = listed(fn(records))
        if len(values) != len(records):
            raise InvalidRequest(
                f"map_batches made {len(values)} records of {len(records)} in the body of a loop, so that nobody could "
                "tell how many rounds each has gone",
                "Return one for each, in order; or use filter and flat_map.",
            )
        return values

    return each
