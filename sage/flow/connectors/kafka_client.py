"""What both ways to Kafka share: settings, and errors said to users. Knows neither reading nor writing."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sage.base.errors import SageError
from sage.base.log import get_log
from sage.flow.connectors.extras import library

Setting = str | int | float | bool
Settings = tuple[tuple[str, Setting], ...]

START_LIMIT_S = 10.0
"""For how long a broker is waited for at the start; sooner seen than what a client tries for ever."""

CALL_LIMIT_S = 30.0
OURS = (
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.idempotence",
)
"""Settings on which what is promised rests."""


MAX_COMPLAINTS = 64


class Complaints:
    """What a client says by itself, as its `logger`: each thing once, in our log, however often it is tried.

    By itself the client prints a line twenty times a second for a broker that cannot be reached.
    """

    def __init__(self, where: str) -> None:
        self._log = get_log(kafka=where)
        self._seen: set[str] = set()
        self.last = ""

    def log(self, level: int, form: str, *parts: object) -> None:
        """Take a line; called on the thread that asks the client for anything."""
        text = _PASSING.sub("", str(parts[-1] if parts else form))
        self.last = text
        if text not in self._seen and len(self._seen) < MAX_COMPLAINTS:
            self._seen.add(text)
            (self._log.warning if level >= _WARNING else self._log.debug)("the Kafka client complains", text=text)


_WARNING = 30
_PASSING = re.compile(r"^\[thrd:[^]]*\]: | \(after \d+ms in state [^)]*\)")
"""What of a line differs from try to try."""


def kafka() -> Any:
    """Return the client library; raises ExtraMissing."""
    return library("confluent_kafka", "kafka")


def settings_from(config: Mapping[str, Setting] | None) -> Settings:
    """Return settings of librdkafka as a value; raises ValueError for those that are ours to make."""
    given = dict(config or {})
    if taken := [name for name in OURS if name in given]:
        raise ValueError(", ".join(taken))
    return tuple(sorted(given.items()))


def look_for_brokers(client: Any, complaints: Complaints) -> None:
    """Wait until a broker answers; raises KafkaException, or TimeoutError that says why none did."""
    try:
        client.list_topics(timeout=START_LIMIT_S)
    except kafka().KafkaException as error:
        client.poll(0.0)  # has it say what it has to say
        if complaints.last:
            what = f"no broker answered within {START_LIMIT_S:g} s, the last try: {complaints.last}"
            raise TimeoutError(what) from error
        raise


@contextmanager
def said_of_kafka(what: str, error_class: type[SageError]) -> Iterator[None]:
    """Have what the client raises become `error_class`."""
    try:
        yield
    except (kafka().KafkaException, ValueError, TimeoutError) as error:
        raise error_class(f"{what}: {why(error)}", "Check the servers, the topic, and the settings.") from error


def why(error: Any) -> str:
    """Return what a KafkaError, an exception that holds one, or another says."""
    first = next(iter(getattr(error, "args", ())), error)
    text = getattr(first, "str", None)
    return str(text()) if callable(text) else str(first)
