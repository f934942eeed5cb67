"""A reference to one step of a flow, and how to set what holds for any step. Knows no operator."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

import msgspec

from sage.base.demand import Demand, labels_from_mapping
from sage.flow.builder import Builder, StepNumber
from sage.flow.graph import OnError
from sage.flow.picture import html_from_steps
from sage.flow.spec import Waiting
from sage.flow.where import refusal

DEFAULT_RETRIES = 3

ErrorPolicy = Literal["fail", "retry", "dead_letter"]

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Handle:
    """Points to one step. Setting something on it sets it on the step, for every handle that points there."""

    __slots__ = ("_builder", "_number")

    def __init__(self, builder: Builder, number: StepNumber) -> None:
        self._builder = builder
        self._number = number

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self._builder.step(self._number).name}" of the flow "{self._builder.name}">'

    def _repr_html_(self) -> str:
        return html_from_steps(self._builder.name, self._builder.steps(), marked=self._builder.step(self._number).name)

    def named(self, name: str) -> Self:
        """Name the last step: in pictures, metrics and errors. Names are unique in a flow.

        >>> import sage
        >>> sage.Flow("f").from_collection("abc").map(str.upper).named("shout")
        <Stream "shout" of the flow "f">
        """
        given: object = name
        if not isinstance(given, str) or not given:
            what = "a step's name is not empty" if given == "" else f"a step's name is a text, not {name!r:.80}"
            raise refusal(what, 'Write .named("count words").', param="name")
        self._builder.change(self._number, name=name)
        return self

    def with_parallelism(self, num_instances: int) -> Self:
        """Run the last step `num_instances` times side by side. Keyed steps keep each key on one instance; sources deal
        whole files or partitions to instances, which keep the order within each; else the order is not kept. Of a sink
        that is a file each instance writes one of its own: write_text("out-{instance}.txt"). At most 1,024 instances.

        >>> import sage
        >>> numbers = sage.Flow("f").from_collection(range(10)).map(abs).with_parallelism(2)
        """
        self._builder.change(self._number, parallelism=num_instances)
        return self

    def with_resources(
        self,
        *,
        cpus: float = 0.0,
        gpus: float = 0.0,
        memory_bytes: int = 0,
        gpu_memory_bytes: int = 0,
        gpu_type: str = "",
        labels: Mapping[str, str] = _NO_LABELS,
        anti_affinity: bool = False,
    ) -> Self:
        """Reserve this much on a node for each instance of the last step; a flow that fits nowhere gets NoRoom.

        `gpus`: 0.5 is half of a device, 1.5 a whole one and half of another. `gpu_memory_bytes`: on each GPU that is
        taken; without `gpus`, on one that is shared. `gpu_type`: what the name of each GPU that is taken holds, in any
        case of letters. `labels`: only nodes that have all of them are taken. `anti_affinity`: no two instances of the
        step share a node. In the step's function, `sage.devices()` says which GPUs are its own.

        >>> import sage
        >>> big = sage.Flow("f").from_collection("ab").map(str.upper).with_resources(cpus=0.5, memory_bytes=2**20)
        >>> big = big.with_resources(gpus=0.5, gpu_type="h100", labels={"zone": "a"})
        """
        try:
            asked = {"cpus": cpus, "gpus": gpus, "memory_bytes": memory_bytes, "gpu_memory_bytes": gpu_memory_bytes}
            of_which = {"gpu_type": gpu_type, "labels": labels_from_mapping(labels), "anti_affinity": anti_affinity}
            demand = msgspec.convert({**asked, **of_which}, Demand)
        except (ValueError, TypeError, AttributeError) as error:
            do = 'For example: with_resources(cpus=0.5, memory_bytes=2**30, labels={"zone": "a"}).'
            raise refusal(f"with_resources: {error}", do) from error
        if gpu_type and not demand.takes_gpu:
            what = f'with_resources(gpu_type="{gpu_type}") asks for no GPU'
            raise refusal(what, "Say also how much of one: gpus=1, gpus=0.5 or gpu_memory_bytes=2**33.")
        self._builder.change(self._number, demand=demand)
        return self

    def on_error(self, policy: ErrorPolicy | OnError, *, retries: int | None = None) -> Self:
        """Say what happens when the last step raises on a record.

        "fail" (what holds if nothing is said): the job fails and shows the user's line. "retry": the record is tried
        `retries` times more (3 if not said), then the job fails. "dead_letter": after `retries` (0) more tries the
        record is set aside for `job.dead_letters()` and the job goes on. A step that was made with `retries=` keeps
        them, whatever happens once they are spent.

        >>> import sage
        >>> rows = sage.Flow("f").from_collection(["1", "x"]).map(int).on_error("dead_letter")
        """
        chosen = _policy(policy)
        if retries is None:
            step = self._builder.step(self._number)
            retries = step.retries if isinstance(step.spec, Waiting) else 0
            if chosen is OnError.RETRY:
                retries = retries or DEFAULT_RETRIES
            elif chosen is OnError.FAIL and retries:
                chosen = OnError.RETRY
        self._builder.change(self._number, on_error=chosen, retries=retries)
        return self


def _policy(policy: str) -> OnError:
    try:
        return OnError(policy)
    except ValueError as error:
        known = ", ".join(f'"{known}"' for known in OnError)
        raise refusal(f"on_error({policy!r}) is unknown", f"Known are {known}.", param="policy") from error
