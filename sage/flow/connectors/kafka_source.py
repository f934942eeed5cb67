"""Topics of Kafka as a source: all partitions, each from an offset on. Knows nothing of steps or threads.

Offsets are kept in the checkpoint and nowhere else: no consumer group decides what is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from sage.base.errors import SourceUnreadable
from sage.flow.connectors.kafka_client import (
    CALL_LIMIT_S,
    Complaints,
    Settings,
    kafka,
    look_for_brokers,
    said_of_kafka,
)
from sage.flow.dealing import PartitionRead, PartitionsRead

WAIT_S = 0.1

Place = tuple[str, int]
"""A topic and a partition of it."""


class KafkaRecord(TypedDict):
    """A message. `timestamp_s`: seconds since the epoch, of its making or of its arrival, as the topic is set."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_s: float | None
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """The messages of `topics`; those that are there now, or with `until_end=False` all that come."""

    servers: str
    topics: tuple[str, ...]
    start: Literal["earliest", "latest"] = "earliest"
    until_end: bool = False
    settings: Settings = field(default=(), repr=False)

    @staticmethod
    def place_of(record: "KafkaRecord") -> Place:
        """Return which partition a record is of: event time advances in each on its own."""
        return record["topic"], record["partition"]

    def open(self) -> "KafkaReader":
        """Start a reading; raises SourceUnreadable, ExtraMissing."""
        return KafkaReader(self, {}, self.start)

    def open_at(self, position: Sequence[Any]) -> "KafkaReader":
        """Go on at the offsets; a partition that was not there then is read from its start."""
        return KafkaReader(self, {(topic, partition): offset for topic, partition, offset in position}, "earliest")

    def partitions(self) -> list[str]:
        """Return every partition there is, as `topic/number`; raises SourceUnreadable, ExtraMissing."""
        where = where_of(self)
        complaints = Complaints(where)
        consumer = _consumer(self, kafka(), where, complaints)
        try:
            with said_of_kafka(f"{where} cannot be read", SourceUnreadable):
                look_for_brokers(consumer, complaints)
                return [f"{topic}/{partition}" for topic, partition in _places(self, consumer, where)]
        finally:
            consumer.close()

    def open_partition(self, name: str, position: int | None) -> "KafkaReader":
        """Start to read one, at an offset or at its start."""
        return KafkaReader(self, {} if position is None else {_place(name): position}, "earliest", [_place(name)])

    def open_together(self, left: Sequence[PartitionRead], *, is_new: bool) -> "KafkaReader":
        """Read several: a partition that was not there before is read from its start."""
        offsets = {_place(each.name): each.position for each in left if each.position is not None}
        places = [_place(each.name) for each in left]
        return KafkaReader(self, offsets, self.start if is_new else "earliest", places)

    def by_partition(self, position: Sequence[Any]) -> PartitionsRead:
        """Return where one instance was in all partitions, as if they had been dealt."""
        return PartitionsRead(tuple(PartitionRead(f"{topic}/{number}", offset) for topic, number, offset in position))


def where_of(source: KafkaSource) -> str:
    return f"{', '.join(source.topics)} of Kafka at {source.servers}"


def _place(name: str) -> Place:
    topic, _, partition = name.rpartition("/")
    return topic, int(partition)


def _consumer(source: KafkaSource, library: Any, where: str, complaints: Complaints) -> Any:
    with said_of_kafka(f"{where} cannot be read", SourceUnreadable):
        return library.Consumer(
            {
                "group.id": "sage",
                **dict(source.settings),
                "bootstrap.servers": source.servers,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "logger": complaints,
            }
        )


def _places(source: KafkaSource, consumer: Any, where: str) -> list[Place]:
    found: list[Place] = []
    for topic in source.topics:
        about = consumer.list_topics(topic, timeout=CALL_LIMIT_S).topics[topic]
        if about.error is not None or not about.partitions:
            raise SourceUnreadable(
                f"{where}: the topic {topic} is not there: {about.error}", "Create it, or check its name."
            )
        found += [(topic, partition) for partition in sorted(about.partitions)]
    return found


class KafkaReader:
    def __init__(
        self, source: KafkaSource, offsets: dict[Place, int], start: str, places: Sequence[Place] | None = None
    ) -> None:
        """`places`: what to read; None for all there is."""
        self._source = source
        self._where = where_of(source)
        self._kafka = kafka()
        complaints = Complaints(self._where)
        self._consumer = _consumer(source, self._kafka, self._where, complaints)
        try:
            with said_of_kafka(f"{self._where} cannot be read", SourceUnreadable):
                look_for_brokers(self._consumer, complaints)
                self._offsets, self._ends = self._begin(offsets, start, places)
        except SourceUnreadable:
            self._consumer.close()
            raise

    def position(self) -> list[tuple[str, int, int]]:
        """Return of each partition the offset of the next message."""
        return [(topic, partition, offset) for (topic, partition), offset in sorted(self._offsets.items())]

    def positions(self) -> list[tuple[str, int]]:
        return [(f"{topic}/{partition}", offset) for topic, partition, offset in self.position()]

    def owned(self) -> list[Place]:
        return list(self._offsets)

    def read(self, max_records: int) -> Sequence[KafkaRecord] | None:
        """Return what is there, nothing after a moment's wait; raises SourceUnreadable."""
        if self._source.until_end and all(self._offsets[place] >= end for place, end in self._ends.items()):
            return None
        with said_of_kafka(f"{self._where} cannot be read any more", SourceUnreadable):
            first = self._consumer.poll(WAIT_S)
            if first is None:
                return []
            more = self._consumer.consume(max_records - 1, 0.0) if max_records > 1 else []
        return [self._record(message) for message in (first, *more) if self._is_wanted(message)]

    def close(self) -> None:
        self._consumer.close()

    def _begin(
        self, offsets: dict[Place, int], start: str, places: Sequence[Place] | None
    ) -> tuple[dict[Place, int], dict[Place, int]]:
        """Assign every partition; return where each begins, and where it ended just now."""
        partition_of, ends = self._kafka.TopicPartition, {}
        for place in _places(self._source, self._consumer, self._where) if places is None else places:
            low, high = self._consumer.get_watermark_offsets(partition_of(*place), timeout=CALL_LIMIT_S)
            ends[place] = high
            offsets.setdefault(place, low if start == "earliest" else high)
        if gone := sorted(set(offsets) - set(ends)):
            raise SourceUnreadable(f"{self._where} had the partitions {gone}, and has them no more")
        self._consumer.assign([partition_of(*place, offset) for place, offset in offsets.items()])
        return offsets, ends

    def _is_wanted(self, message: Any) -> bool:
        """Say whether a message is one, and not beyond the end; raises SourceUnreadable where it is an error."""
        error = message.error()
        if error is not None:
            if error.code() == self._kafka.KafkaError._PARTITION_EOF or error.retriable():
                return False
            if error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:
                raise SourceUnreadable(
                    f"{self._where} has no message any more where the reading was to go on: {error.str()}",
                    'Keep messages longer, or begin anew: resume="never".',
                )
            raise SourceUnreadable(f"{self._where} cannot be read any more: {error.str()}")
        return not self._source.until_end or message.offset() < self._ends[message.topic(), message.partition()]

    def _record(self, message: Any) -> KafkaRecord:
        kind, timestamp_ms = message.timestamp()
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        self._offsets[topic, partition] = offset + 1
        return {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key": message.key(),
            "value": message.value(),
            "timestamp_s": None if kind == self._kafka.TIMESTAMP_NOT_AVAILABLE else timestamp_ms / 1000,
            "headers": message.headers() or [],
        }
