"""What both ways to Kafka share: settings, and errors said to users. Knows neither reading nor writing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sage.base.errors import SageError
from sage.flow.connectors.extras import library

Setting = str | int | float | bool
Settings = tuple[tuple[str, Setting], ...]

CALL_LIMIT_S = 30.0
OURS = (
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.idempotence",
)
"""Settings on which what is promised rests."""


def kafka() -> Any:
    """Return the client library; raises ExtraMissing."""
    return library("confluent_kafka", "kafka")


def settings_from(config: Mapping[str, Setting] | None) -> Settings:
    """Return settings of librdkafka as a value; raises ValueError for those that are ours to make."""
    given = dict(config or {})
    if taken := [name for name in OURS if name in given]:
        raise ValueError(", ".join(taken))
    return tuple(sorted(given.items()))


@contextmanager
def said_of_kafka(what: str, error_class: type[SageError]) -> Iterator[None]:
    """Have what the client raises become `error_class`."""
    try:
        yield
    except (kafka().KafkaException, ValueError) as error:
        raise error_class(f"{what}: {why(error)}", "Check the servers, the topic, and the settings.") from error


def why(error: BaseException) -> str:
    """Return what a KafkaException, or another, says."""
    first = error.args[0] if error.args else error
    text = getattr(first, "str", None)
    return str(text()) if callable(text) else str(first)
