"""The GPUs that are a task's to use, for the code that runs in it. Knows nothing of how they are given out."""

from contextvars import Context, ContextVar

import msgspec


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a task has of one GPU, or of one MIG slice.

    `id` is its UUID (`GPU-...`, `MIG-...`), `index` as in nvidia-smi: `"0"`, or `"0:1"` for the second slice of it.
    `share` of its time: 1.0 is the whole device, 0.0 some of its memory alone. `memory_bytes`: how much of its memory.
    """

    id: str
    index: str
    share: float
    memory_bytes: int


_HELD: ContextVar[tuple[Device, ...]] = ContextVar("sage_devices", default=())


def devices() -> tuple[Device, ...]:
    """Return the GPUs that were given to the task that calls it, by what its steps ask for in `with_resources`.

    Called in a user's function, also in a coroutine of `map_async` or in `asyncio.to_thread`. Empty for a task that
    asks for none, in threads that the user starts, and outside of tasks.

    >>> devices()
    ()
    """
    return _HELD.get()


def context_with(held: tuple[Device, ...]) -> Context:
    """Return a new context: what runs in it is told that these devices are its own."""
    context = Context()
    context.run(_HELD.set, held)
    return context
