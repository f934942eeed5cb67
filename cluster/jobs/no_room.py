"""What is missing where, in words. Pure; decides nothing."""

from collections.abc import Iterable, Iterator, Sequence

from cluster.jobs.gpus import MOST, WHOLE, FreeGpu, is_of_type, millionths, pick
from cluster.jobs.parts import Part
from cluster.jobs.room import Room, Want
from sage.base.demand import Demand
from sage.base.errors import NoRoom

_MAX_NAMES = 4
_DO = "Ask for less in with_resources or with_parallelism, let other jobs end first, or add a node that has it."


def no_room(part: Part, rooms: Sequence[Room]) -> NoRoom:
    """Return the error for a part that fits on none of `rooms`; nodes that lack the same are named together."""
    lacking: dict[str, list[str]] = {}
    for room in rooms:
        lacking.setdefault(_missing(part, room), []).append(room.node_id)
    missing = "; ".join(_names(nodes, what) for what, nodes in lacking.items()) or "there is no node"
    return NoRoom(f"{part.what} asks for {amounts(part.demand)}: {missing}", _DO)


def amounts(demand: Demand) -> str:
    """Say what is asked for: `2 CPUs and 1 GPUs of 1,000 bytes`.

    >>> amounts(Demand(cpus=0.5, gpus=1, gpu_memory_bytes=1000, labels=(("zone", "a"),)))
    '0.5 CPUs and 1 GPUs with 1,000 bytes each and the label zone=a'
    """
    parts = [f"{number(demand.cpus)} CPUs"] if demand.cpus else []
    parts += [_gpus(demand)] if demand.takes_gpu else []
    parts += [f"{number(demand.memory_bytes)} bytes of memory"] if demand.memory_bytes else []
    parts += [f"the label {name}={value}" for name, value in demand.labels]
    parts += ["a node without another of it"] if demand.anti_affinity else []
    return " and ".join(parts) or "nothing"


def number(amount: float) -> str:
    return f"{amount:,.0f}" if amount == int(amount) else f"{amount:g}"


def _gpus(demand: Demand) -> str:
    of_type = f" of type {demand.gpu_type}" if demand.gpu_type else ""
    if not demand.gpus:
        return f"{number(demand.gpu_memory_bytes)} bytes of a GPU{of_type}"
    memory = f" with {number(demand.gpu_memory_bytes)} bytes each" if demand.gpu_memory_bytes else ""
    return f"{number(demand.gpus)} GPUs{of_type}{memory}"


def _missing(part: Part, room: Room) -> str:
    """Say why `room` has no room for the part."""
    demand, want = part.demand, Want(part)
    lacks = []
    if want.cpus > room.free_cpus:
        lacks.append(f"{number(room.free.cpus)} of {number(room.offer.cpus)} CPUs free")
    if demand.takes_gpu and pick(room.gpus_for(want), demand) is None:
        lacks.append(_free_gpus(demand, room.gpus_for(want)) + _slices(want, room))
    if demand.memory_bytes > room.free_memory:
        total = number(room.offer.memory_bytes)
        lacks.append(f"{number(room.free.memory_bytes)} of {total} bytes of memory free")
    own = dict(room.offer.labels)
    lacks += [_label(name, own.get(name)) for name, value in demand.labels if own.get(name) != value]
    lacks += [_engine(needed) for needed in part.engine if needed not in room.engines]
    lacks += [f"one of {part.apart} already"] if part.apart in room.groups else []
    return " and ".join(lacks)


def _free_gpus(demand: Demand, gpus: Iterable[FreeGpu]) -> str:
    """Count the devices that would do, of those of the right type; and name what is out of use."""
    of_type = [gpu for gpu in gpus if is_of_type(gpu.gpu, demand.gpu_type)]
    share = min(WHOLE, millionths(demand.gpus))
    num_free = sum(gpu.share_for(share, demand.gpu_memory_bytes) is not None for gpu in of_type)
    together = ", but not together" if num_free >= demand.gpus and num_free else ""
    faults = "".join(f", GPU {gpu.gpu.index} is out of use: {gpu.gpu.fault}" for gpu in of_type if gpu.gpu.fault)
    held = "".join(f", others hold {number(each)} bytes of GPU {index}" for index, each in _held(of_type))
    named = f"{demand.gpu_type} GPUs" if demand.gpu_type else "GPUs"
    return f"{num_free} of {len(of_type)} {named} free for that{together}{faults}{held}"


def _held(gpus: Iterable[FreeGpu]) -> Iterator[tuple[str, int]]:
    """Yield the devices of which others hold enough to matter, and how much."""
    for gpu in (each.gpu for each in gpus):
        if not gpu.fault and gpu.held_bytes > gpu.memory_bytes * (1 - MOST):
            yield gpu.index, gpu.held_bytes


def _slices(want: Want, room: Room) -> str:
    """Say why slices that are there cannot be given to a task."""
    num = len(room.gpus) - len(room.gpus_for(want))
    return f", {num} MIG slices are for engines alone (start a node for each slice)" if num else ""


def _engine(needed: str) -> str:
    kind, _, model = needed.partition(":")
    if kind == "vllm" and model:
        return f"not the engine environment {model} (there: sage engines install {model})"
    if model:
        return f"not the files of the model {model} (there: sage models pull {model})"
    extra = "engines" if kind == "openvino" else "http"
    return f"not the packages of {kind} engines (there: pip install 'sage-engine[{extra}]')"


def _label(name: str, own: str | None) -> str:
    return f"no label {name}" if own is None else f"the label {name}={own}"


def _names(nodes: Sequence[str], what: str) -> str:
    more = f" and {len(nodes) - _MAX_NAMES} more" if len(nodes) > _MAX_NAMES else ""
    return f"{', '.join(nodes[:_MAX_NAMES])}{more} {'have' if len(nodes) > 1 else 'has'} {what}"
