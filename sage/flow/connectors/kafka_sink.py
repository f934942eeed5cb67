"""A topic of Kafka as a sink: each batch is acknowledged before the next is taken. Knows nothing of steps or threads.

What comes again, since a run goes on from a checkpoint, is there twice: a reader knows it by its key or its content.
"""

from bisect import bisect
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from sage.base.errors import SinkUnwritable
from sage.flow.connectors.kafka_client import (
    CALL_LIMIT_S,
    Complaints,
    Settings,
    kafka,
    look_for_brokers,
    said_of_kafka,
    why,
)
from sage.flow.json_form import NoJsonForm, encoded
from sage.flow.refused import first_refused, refused_alone
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
            parts["key"] = self._key(self.key(record))
        if self.headers is not None:
            parts["headers"] = list(self.headers(record).items())
        if self.timestamp is not None:
            parts["timestamp"] = round(self.timestamp(record) * 1000)
        return parts

    def _key(self, key: object) -> Content:
        if key is None or isinstance(key, str | bytes):
            return key
        raise SinkUnwritable(
            f"a key of {self.topic} of Kafka at {self.servers} is a text or bytes, got {key!r:.200}",
            "Give key=, a function of the record to text or bytes.",
        )

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
        self._taken: set[int] = set()  # of the records that come next: those that brokers have
        given = dict(sink.settings)
        complaints = Complaints(self._where)
        with said_of_kafka(f"{self._where} cannot be written", SinkUnwritable):
            self._producer: Any = kafka().Producer(
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
        """Send all and wait until the brokers have them; raises SinkUnwritable.

        Where records are refused for themselves, the next call has all others, and sends those that were not taken yet.
        """
        taken, self._taken = self._taken, set()
        messages, refused = self._messages(records, taken)
        self._failed = None
        if not refused:
            with said_of_kafka(f"{self._where} cannot be written", SinkUnwritable):
                refused = self._sent(messages, taken, list(messages))
                if len(refused) > 1:  # brokers refuse whole sets of messages for one of them
                    refused = refused_alone(sorted(refused), partial(self._sent, messages, taken))
        if refused:
            places = sorted(refused)
            self._taken = {at - bisect(places, at) for at in taken}
            raise first_refused({at: self._refused(error) for at, error in refused.items()})

    def _messages(
        self, records: Sequence[object], taken: Collection[int]
    ) -> tuple[dict[int, dict[str, Any]], dict[int, Any]]:
        """Return the parts of all but those that are `taken`, before any is sent; and why some have none."""
        messages: dict[int, dict[str, Any]] = {}
        refused: dict[int, Any] = {}
        for at, record in enumerate(records):
            if at not in taken:
                try:
                    messages[at] = self._sink.form_of(record)
                except Exception as error:  # noqa: BLE001 - a function of the user's may raise anything
                    refused[at] = error
        return messages, refused

    def _sent(self, messages: Mapping[int, dict[str, Any]], taken: set[int], part: Sequence[int]) -> dict[int, Any]:
        """Send some, wait until the brokers have them, and return those that they refuse."""
        refused: dict[int, Any] = {}
        for at in part:
            self._send(at, messages[at], taken, refused)
        self._wait()
        return refused

    def _send(self, at: int, parts: dict[str, Any], taken: set[int], refused: dict[int, Any]) -> None:
        try:
            self._produce(at, parts, taken, refused)
        except (TypeError, kafka().KafkaException) as error:
            if isinstance(error, kafka().KafkaException) and not _is_of_a_record(error.args[0]):
                raise
            refused[at] = error

    def _produce(self, at: int, parts: dict[str, Any], taken: set[int], refused: dict[int, Any]) -> None:
        def delivered(error: Any, message: Any) -> None:
            if error is None:
                taken.add(at)
            elif _is_of_a_record(error):
                refused[at] = error
            elif self._failed is None:
                self._failed = error

        try:
            self._producer.produce(self._sink.topic, on_delivery=delivered, **parts)
        except BufferError:  # the client's own queue is full
            self._wait()
            self._producer.produce(self._sink.topic, on_delivery=delivered, **parts)

    def _refused(self, error: Any) -> SinkUnwritable:
        if isinstance(error, SinkUnwritable):
            return error
        refused = SinkUnwritable(
            f"a record for {self._where} was refused: {why(error)}", "Map such records to less, or set them aside."
        )
        refused.raised = None if _is_of_kafka(error) else error
        refused.__cause__ = error if isinstance(error, Exception) else None
        return refused

    def close(self, *, complete: bool) -> None:
        """Let go: each batch was acknowledged. Errors that hold this writer do not keep its client connected."""
        producer, self._producer = self._producer, None
        if not complete:
            producer.purge()
        producer.flush(0.0 if not complete else self._limit_s)

    def _wait(self) -> None:
        num_left = self._producer.flush(self._limit_s)
        if self._failed is not None or num_left:
            said = self._failed.str() if self._failed is not None else f"{num_left} messages were not acknowledged"
            raise SinkUnwritable(f"{self._where} cannot be written: {said}", "Check the brokers and the topic.")


def _is_of_kafka(error: Any) -> bool:
    return isinstance(error, kafka().KafkaException | kafka().KafkaError)


def _is_of_a_record(error: Any) -> bool:
    """Say whether brokers, or the client, refuse one message for what it is."""
    known = kafka().KafkaError
    return error.code() in (
        known.MSG_SIZE_TOO_LARGE,
        known.INVALID_MSG,
        known.INVALID_MSG_SIZE,
        known.INVALID_TIMESTAMP,
        known.INVALID_RECORD,
    )
