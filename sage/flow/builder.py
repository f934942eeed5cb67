"""A flow while it is written down: a growing list of steps, each with the user's line. Runs and decides nothing."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, NewType

from sage.base.errors import FlowInvalid
from sage.base.inference import ServiceClass
from sage.flow.check_graph import graph_from_steps
from sage.flow.check_step import check_step
from sage.flow.graph import Graph, Step
from sage.flow.kinds import kind_of_step
from sage.flow.spec import Embed, Field, IndexInto, Spec
from sage.flow.where import users_line

StepNumber = NewType("StepNumber", int)


@dataclass(frozen=True, slots=True)
class Draft:
    """A step before its name is settled. `step.name` is the user's, or ""; `kind` is the method that made the step;
    `class_is_default`: nobody chose the class of its requests.
    """

    kind: str
    step: Step
    inputs: tuple[StepNumber, ...]
    class_is_default: bool = False


class Builder:
    """The steps of one flow so far. Streams point into it by number; numbers never change, steps may."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._drafts: list[Draft] = []

    @property
    def num_steps(self) -> int:
        """How many steps there are: the number of the next one."""
        return len(self._drafts)

    def specs_from(self, number: int) -> list[Spec]:
        """Return what the steps are told that were added from this number on."""
        return [draft.step.spec for draft in self._drafts[number:]]

    def add(
        self, spec: Spec, *inputs: StepNumber, kind: str | None = None, class_is_default: bool = False
    ) -> StepNumber:
        """Add a step that reads from `inputs`; raises FlowInvalid where its settings cannot be honoured."""
        step = Step("", spec, (), users_line())
        check_step(step)
        self._drafts.append(Draft(kind or kind_of_step(spec), step, inputs, class_is_default))
        return StepNumber(len(self._drafts) - 1)

    def change(self, number: StepNumber, **settings: Any) -> None:
        """Set fields of one step; raises FlowInvalid, naming the line of this call, where they cannot be honoured."""
        draft = self._drafts[number]
        check_step(replace(draft.step, **settings, where=users_line()))
        self._drafts[number] = replace(draft, step=replace(draft.step, **settings))

    def step(self, number: StepNumber) -> Step:
        """Return the step of this number under its final name."""
        return self.steps()[number]

    def steps(self) -> tuple[Step, ...]:
        """Return the steps so far, unchecked, in the order of their making; steps without a name get one."""
        names = _names(self._drafts)
        batch = _only_indexed(self._drafts)
        return tuple(
            replace(
                draft.step,
                name=names[number],
                inputs=tuple(names[source] for source in draft.inputs),
                spec=_in_batch_class(draft.step.spec) if number in batch else draft.step.spec,
            )
            for number, draft in enumerate(self._drafts)
        )

    def text_embedded_before(self, number: StepNumber) -> Field | None:
        """Return of which text the vectors were made that reach this step; None where no step before it embeds."""
        at = [number]
        while at:
            draft = self._drafts[at[0]]
            if isinstance(draft.step.spec, Embed):
                return draft.step.spec.text
            at = list(draft.inputs)
        return None

    def graph(self) -> Graph:
        """Return the whole flow; raises FlowInvalid where it cannot run."""
        if not self._drafts:
            raise FlowInvalid(
                f'the flow "{self.name}" has no steps', "Begin with a source: flow.from_collection([...])."
            )
        return graph_from_steps(self.name, self.steps())


def _names(drafts: list[Draft]) -> list[str]:
    """Give steps without a name that of their kind, numbered from the second on: "map", "map-2"."""
    taken = {draft.step.name for draft in drafts}
    seen: Counter[str] = Counter()
    return [draft.step.name or _free_name(draft.kind, taken, seen) for draft in drafts]


def _free_name(kind: str, taken: set[str], seen: Counter[str]) -> str:
    while True:
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        if name not in taken:
            return name


def _only_indexed(drafts: list[Draft]) -> set[int]:
    """Return the model steps of no chosen class whose every record ends in an index: they are batch work."""
    to_index: list[bool] = [True] * len(drafts)
    has_reader = [False] * len(drafts)
    for number in reversed(range(len(drafts))):
        ends_here = isinstance(drafts[number].step.spec, IndexInto)
        to_index[number] = ends_here or (has_reader[number] and to_index[number])
        for source in drafts[number].inputs:
            has_reader[source] = True
            to_index[source] = to_index[source] and to_index[number]
    return {number for number, draft in enumerate(drafts) if draft.class_is_default and to_index[number]}


def _in_batch_class(spec: Spec) -> Spec:
    return replace(spec, priority=ServiceClass.BATCH) if isinstance(spec, Embed) else spec
