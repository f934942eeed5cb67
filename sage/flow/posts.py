"""What a source that listens can be told, as users write it; whether several go together. Knows no server."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from sage.base.errors import FlowInvalid
from sage.flow.connectors.http_source import MAX_PORT, HttpSource, RecordsAs, posted_to
from sage.flow.graph import Step
from sage.flow.time_options import TimeOptions
from sage.flow.where import refusal

T = TypeVar("T")


class PostOptions(TimeOptions[T], Generic[T], total=False):
    """What can be said beside the name of what is posted, and what its records are.

    | keyword | what | by default |
    | --- | --- | --- |
    | host, port | where to listen; port 0 takes a free one, each further instance the next port | "127.0.0.1", 0 |
    | key_env | the variable, in the environment of the node that listens, that holds the key of callers | no key |
    | max_body_bytes | how long a body may be, unpacked too | 4 MiB |
    | max_waiting | how many posts wait for the flow; beyond it, and beyond 16 MiB of them, 503 is answered | 1000 |
    | max_posts | the stream ends after so many | it goes on |
    """

    host: str
    port: int
    key_env: str | None
    max_body_bytes: int
    max_waiting: int
    max_posts: int | None


_OF_PLACE = ("host", "port", "key_env", "max_body_bytes", "max_waiting", "max_posts")


def source_with(name: str, records: RecordsAs, as_type: Any, told: PostOptions[Any]) -> HttpSource:
    """Return a source that listens; raises FlowInvalid for what cannot be honoured."""
    options: dict[str, Any] = {key: value for key, value in told.items() if key in _OF_PLACE}
    source = HttpSource(name, records=records, as_type=as_type, **options)
    if (fault := source.fault()) is not None:
        raise refusal(fault.what, fault.do, param=fault.param)
    return source


def time_of(told: PostOptions[Any]) -> TimeOptions[Any]:
    """Return what of it is about time."""
    return {key: value for key, value in told.items() if key not in _OF_PLACE}  # type: ignore[return-value]  # the rest of its keywords


def check_posts(steps: Iterable[Step]) -> None:
    """Raise FlowInvalid, naming the user's line, where two sources would listen for the same, or at one port."""
    names: dict[str, Step] = {}
    ports: dict[int, Step] = {}
    for step in steps:
        source = posted_to(step.spec)
        if source is None:
            continue
        twin = names.setdefault(source.name, step)
        if twin is not step:
            what = f"{step.where}: two streams read what is posted to {source.name!r}; the other is at {twin.where}"
            raise FlowInvalid(what, "Give one of them another name, or read the first stream twice.", param="name")
        for port in range(source.port, source.port + step.parallelism) if source.port else ():
            if port > MAX_PORT:
                what = f"{step.where}: {step.parallelism} instances listen at ports from {source.port} on"
                raise FlowInvalid(what, f"The last port is {MAX_PORT}: give a lower one.", param="port")
            beside = ports.setdefault(port, step)
            if beside is not step:
                what = f"{step.where}: port {port} is taken by the source at {beside.where}"
                raise FlowInvalid(what, "Each instance listens by itself: give it a port of its own.", param="port")
