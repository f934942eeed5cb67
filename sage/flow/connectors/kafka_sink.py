"""A topic of Kafka as a sink: each batch is acknowledged before the next is taken. Knows nothing of steps or threads.

What comes again, since a run goes on from a checkpoint, is there twice: a reader knows it by its key or its content.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sage.base.errors import SinkUnwritable
from sage.flow.connectors.kafka_client import (
    CALL_LIMIT_S,
    Complaints,
    Settings,
    kafka,
    look_for_brokers,
    said_of_kafka,
)
from sage.flow.json_form import NoJsonForm, encoded
from sage.flow.sink_keys import KeyOf

Content = str | bytes | None


@dataclass(frozen=True, slots=True)
class KafkaSink:
    """A message a record, in `topic`. Functions of the record give its parts; None: the record itself is the value."""

    refuses_records: ClassVar = True

    servers: str
    topic: str
    value: Callable[[Any], Any] | None = None
    key: Callable[[Any], Content] | None = None
    headers: Callable[[Any], Mapping[str, Content]] | None = None
    timestamp: Callable[[Any], float] | None = None
    settings: Settings = field(default=(), repr=False)

    def share(self, number: int, num_shares: int) -> "KafkaSink":
        """Each has a client of its own; messages of one key are sent by one of them."""
        return self

    def sink_keys(self) -> Callable[[Any], Hashable] | None:
        return None if self.key is None else KeyOf(self.key)

    def open(self) -> "KafkaWriter":
        """Connect; raises SinkUnwritable, ExtraMissing."""
        return KafkaWriter(self)

    def form_of(self, record: Any) -> dict[str, Any]:
        """Return the parts of a record's message, and send nothing; raises SinkUnwritable where it has no JSON form."""
        parts: dict[str, Any] = {"value": self._value(record if self.value is None else self.value(record))}
        if self.key is not None:
            parts["key"] = self.key(record)
        if self.headers is not None:
            parts["headers"] = list(self.headers(record).items())
        if self.timestamp is not None:
            parts["timestamp"] = round(self.timestamp(record) * 1000)
        return parts

    def _value(self, value: Any) -> Content:
        """Return texts and bytes as they are, anything else as JSON."""
        if value is None or isinstance(value, str | bytes):
            return value
        try:
            return encoded(value)
        except NoJsonForm as error:
            raise SinkUnwritable(
                f"a record for {self.topic} of Kafka at {self.servers} has no JSON form: {error}; it is {value!r:.200}",
                "Give value=, a function of the record to text or bytes.",
            ) from error


class KafkaWriter:
    def __init__(self, sink: KafkaSink) -> None:
        self._sink = sink
        self._where = f"{sink.topic} of Kafka at {sink.servers}"
        self._failed: Any = None
        given = dict(sink.settings)
        complaints = Complaints(self._where)
        with said_of_kafka(f"{self._where} cannot be written", SinkUnwritable):
            self._producer = kafka().Producer(
                {
                    "delivery.timeout.ms": int(CALL_LIMIT_S * 1000),
                    **given,
                    "bootstrap.servers": sink.servers,
                    "enable.idempotence": True,  # what is sent again after a lost acknowledgement is not there twice
                    "logger": complaints,
                }
            )
            look_for_brokers(self._producer, complaints)
        self._limit_s = float(given.get("delivery.timeout.ms", CALL_LIMIT_S * 1000)) / 1000 + 1.0

    def write(self, records: Sequence[object]) -> None:
        """Send all and wait until the brokers have them; raises SinkUnwritable."""
        messages = self._messages(records)
        with said_of_kafka(f"{self._where} cannot be written", SinkUnwritable):
            for parts in messages:
                try:
                    self._producer.produce(self._sink.topic, on_delivery=self._delivered, **parts)
                except BufferError:  # the client's own queue is full
                    self._wait()
                    self._producer.produce(self._sink.topic, on_delivery=self._delivered, **parts)
            self._wait()

    def _messages(self, records: Sequence[object]) -> list[dict[str, Any]]:
        """Return the parts of all before any is sent: those that can be are sent once."""
        messages: list[dict[str, Any]] = []
        try:
            for record in records:
                messages.append(self._sink.form_of(record))  # noqa: PERF401 - which has none is how many there are
        except SinkUnwritable as error:
            error.at = len(messages)
            raise
        return messages

    def close(self, *, complete: bool) -> None:
        """Let go: each batch was acknowledged."""
        if not complete:
            self._producer.purge()
        self._producer.flush(0.0 if not complete else self._limit_s)

    def _wait(self) -> None:
        num_left = self._producer.flush(self._limit_s)
        if self._failed is not None or num_left:
            why = self._failed.str() if self._failed is not None else f"{num_left} messages were not acknowledged"
            raise SinkUnwritable(f"{self._where} cannot be written: {why}", "Check the brokers and the topic.")

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = error
